
if [ ! -s /etc/iscsi/initiatorname.iscsi ]; then
    iscsi-iname -p iqn.1993-08.org.debian:01 | sed -n 's/^iqn/InitiatorName=&/p' | place /etc/iscsi/initiatorname.iscsi 600 root:root
    made /etc/iscsi/initiatorname.iscsi $?
fi
