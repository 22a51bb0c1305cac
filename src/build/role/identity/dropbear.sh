
for kind in rsa ecdsa ed25519; do
    key=/etc/dropbear/dropbear_${kind}_host_key
    if [ ! -s "$key" ]; then
        rm -f "$key" && dropbearkey -t "$kind" -f "$key" >/dev/null
        made "$key" $?
    fi
done
