# kbake: the node's data disk, at each boot, before its services start. Made once, on a disk of nothing but zeros; whatever else
# is on it is left alone. Where it cannot be mounted, nothing can be written: services fail, and no data begins anew elsewhere.
disk=$1 mount=$2

fail() {
    echo "kbake-data-disk: $mount is not there: $*" >&2
    mount -t tmpfs -o ro,size=4k,mode=0555 kbake-no-data-disk "$mount"
    exit 1
}

mkdir -p "$mount"
if mountpoint -q "$mount"; then exit 0; fi
# Of the image's folder, which services have been given.
owner=$(stat -c %u:%g "$mount") mode=$(stat -c %a "$mount")
if ! [ -e "$disk" ]; then fail "the machine has no disk $disk"; fi
if cmp -s -n 1048576 "$disk" /dev/zero; then
    mkfs.ext4 -q -L kbake-data "$disk" || fail "no filesystem could be made on $disk"
fi
# 1: mended.
e2fsck -p "$disk" || [ $? -eq 1 ] || fail "the filesystem on $disk is damaged, or is none of ext4"
mount -t ext4 -o errors=remount-ro "$disk" "$mount" || fail "$disk could not be mounted"
# Programs that own the whole folder complain of it.
rmdir "$mount/lost+found" 2>/dev/null
chown "$owner" "$mount"
chmod "$mode" "$mount"
