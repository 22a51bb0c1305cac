
# Nodes that shall trust each other need one key: bring it there by other means, and it stays.
if [ ! -s /etc/munge/munge.key ]; then
    rm -f /etc/munge/munge.key && runuser -u munge -- mungekey -c
    made /etc/munge/munge.key $?
fi
