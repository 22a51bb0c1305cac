
if [ ! -s /etc/bind/rndc.key ] && [ ! -s /etc/bind/rndc.conf ]; then
    rndc-confgen -a -u bind && chown bind:bind /etc/bind/rndc.key && chmod 640 /etc/bind/rndc.key
    made /etc/bind/rndc.key $?
fi
