# Run by mmdebstrap with /proc, /sys and /dev mounted in the root ($1) and services kept from starting: installs
# everything with the root's own, locked dpkg and apt, so that the host's versions decide nothing.
set -eu
root=$1

# INITRD=No: the kernel's scripts would build the initramfs before all that goes into it is configured.
inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TZ=UTC LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        DEBCONF_NONINTERACTIVE_SEEN=true INITRD=No "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" chroot "$root" "$@"
}
# The names are Debian package names, checked by kbake: no word of them needs quoting.
listed() { sed 's,.*,/.kbake/&.deb,' "$KBAKE_SCRATCH/$1"; }

cd "$root"
echo 'kbake: installing the essential packages' >&2
# --force-depends: dpkg alone does not order by Pre-Depends; all files they could want lie there already.
inside dpkg --force-unsafe-io --force-depends --install $(listed essential)
echo 'kbake: installing the other packages' >&2
if [ -s "$KBAKE_SCRATCH/rest" ]; then
    inside apt-get --quiet --assume-yes --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Use-Pty=false \
        -o DPkg::Options::=--force-unsafe-io install $(listed rest)
fi
inside dpkg --audit >"$KBAKE_SCRATCH/audit"
if [ -s "$KBAKE_SCRATCH/audit" ]; then
    cat "$KBAKE_SCRATCH/audit" >&2
    exit 1
fi
rm -rf "$root/.kbake"
# The one locale that needs no generating. Without a setting cloud-init tries en_US at first boot, and its unit fails.
if [ -d "$root/etc/default" ]; then
    echo 'LANG=C.UTF-8' >"$root/etc/default/locale"
fi
echo 'kbake: building the initramfs' >&2
for kernel in "$root"/boot/vmlinuz-*; do
    if [ -e "$kernel" ]; then
        version=${kernel##*/vmlinuz-}
        inside update-initramfs -c -k "$version"
        # Both links, /vmlinuz and /initrd.img: the kernel's own script made the first before there was an initramfs.
        inside env -u INITRD linux-update-symlinks install "$version" "/boot/vmlinuz-$version"
    fi
done
echo 'kbake: reading the tree' >&2
