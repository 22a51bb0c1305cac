
if [ ! -s /etc/nvme/hostnqn ]; then
    nvme gen-hostnqn | place /etc/nvme/hostnqn 644 root:root
    made /etc/nvme/hostnqn $?
fi
if [ ! -s /etc/nvme/hostid ]; then
    # The same number as in the name, as the specification wants it.
    sed -n 's/.*:uuid://p' /etc/nvme/hostnqn | place /etc/nvme/hostid 644 root:root
    made /etc/nvme/hostid $?
fi
