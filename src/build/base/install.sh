# Run by mmdebstrap with /proc, /sys and /dev mounted in the root ($1) and services kept from starting: installs
# everything with the root's own, locked dpkg, so that the host's version decides nothing.
set -eu
root=$1

# INITRD=No: the kernel's scripts would build the initramfs before all that goes into it is configured.
inside() {
    env -i PATH=/.kbake/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TZ=UTC LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        DEBCONF_NONINTERACTIVE_SEEN=true INITRD=No "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" chroot "$root" "$@"
}
# The names are Debian package names, checked by kbake: no word of them needs quoting.
listed() { sed 's,.*,/.kbake/debs/&.deb,' "$1"; }

cd "$root"
mount --bind "$KBAKE_SCRATCH/debs" "$root/.kbake/debs"
if [ -s "$KBAKE_SCRATCH/essential" ]; then
    echo 'kbake: installing the essential packages' >&2
    # --force-depends: dpkg alone does not order by Pre-Depends; all files they could want lie there already.
    inside dpkg --force-unsafe-io --force-depends --install $(listed "$KBAKE_SCRATCH/essential")
fi
echo 'kbake: installing the other packages' >&2
# kbake unpacks them meanwhile, and says how that ended.
while [ ! -e "$KBAKE_SCRATCH/ready" ]; do
    sleep 0.05
done
[ "$(cat "$KBAKE_SCRATCH/ready")" = yes ]
for step in "$KBAKE_SCRATCH"/rest.*; do
    if [ -e "$step" ]; then
        inside dpkg --force-unsafe-io --install $(listed "$step")
    fi
done
inside dpkg --audit >"$KBAKE_SCRATCH/audit"
if [ -s "$KBAKE_SCRATCH/audit" ]; then
    cat "$KBAKE_SCRATCH/audit" >&2
    exit 1
fi
umount "$root/.kbake/debs"
# The one locale that needs no generating. Without a setting cloud-init tries en_US at first boot, and its unit fails.
if [ -d "$root/etc/default" ]; then
    echo 'LANG=C.UTF-8' >"$root/etc/default/locale"
fi
if [ -s "$root/.kbake/compile" ] && [ -x "$root/usr/bin/py3compile" ]; then
    echo 'kbake: compiling the Python modules' >&2
    inside python3 /.kbake/compile.py
fi
# What belongs to one machine, and what the recipe clears, is gone before a hook can copy it into the initramfs. By the root's own
# rm, inside: a link in the root must not lead it out.
inside sh -c 'cd / && while read -r pattern; do rm -rf -- $pattern; done' <"$KBAKE_SCRATCH/own"
if [ -s "$KBAKE_SCRATCH/cleared" ]; then
    inside sh -c 'cd / && xargs -0 rm -rf --' <"$KBAKE_SCRATCH/cleared"
fi
for kernel in "$root"/boot/vmlinuz-*; do
    version=${kernel##*/vmlinuz-}
    initramfs=$root/boot/initrd.img-$version
    if [ -e "$kernel" ] && { [ ! -e "$initramfs" ] || [ -e "$root/.kbake/initramfs" ]; }; then
        echo 'kbake: building the initramfs' >&2
        rm -f "$initramfs" "$root/var/lib/initramfs-tools/$version"
        inside /usr/sbin/update-initramfs -c -k "$version"
        # Both links, /vmlinuz and /initrd.img: the kernel's own script made the first before there was an initramfs.
        inside env -u INITRD linux-update-symlinks install "$version" "/boot/vmlinuz-$version"
    fi
done
rm -rf "$root/.kbake"
echo 'kbake: reading the tree' >&2
