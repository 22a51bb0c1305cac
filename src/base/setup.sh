# Run by mmdebstrap in an empty root ($1), before anything is mounted: puts the settings there that must stand before
# the packages, and lays the essential packages' files out so that their own dpkg can be run inside.
set -eu
root=$1

# mmdebstrap copies both from the host; a node must know nothing of it.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"

# /usr is merged from the start, as Debian's installer does it: the packages expect to find the links.
for folder in bin sbin lib lib64; do
    mkdir -p "$root/usr/$folder"
    ln -s "usr/$folder" "$root/$folder"
done

mkdir -p "$root/etc/dpkg/dpkg.cfg.d" "$root/etc/initramfs-tools/conf.d" "$root/usr/share/initramfs-tools/modules.d"
cat >"$root/etc/dpkg/dpkg.cfg.d/kbake" <<'EOF'
# Written by kbake: a node has no manual pages, translations or documentation but the licences.
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/man/*
EOF
cat >"$root/etc/initramfs-tools/conf.d/kbake" <<'EOF'
# Written by kbake: what a virtual machine needs to find its root, and no more.
MODULES=list
BUSYBOX=n
COMPRESS=zstd
COMPRESSLEVEL=9
FSTYPE=ext4
RESUME=none
EOF
cat >"$root/usr/share/initramfs-tools/modules.d/kbake" <<'EOF'
# Written by kbake: the disks that QEMU and libvirt offer. What the kernel has built in is passed over.
virtio_pci
virtio_mmio
virtio_blk
virtio_scsi
ata_piix
ahci
nvme
sd_mod
ext4
EOF

mkdir "$root/.kbake"
cp --reflink=auto -- "$KBAKE_SCRATCH"/debs/*.deb "$root/.kbake/"
echo 'kbake: laying out the essential packages' >&2
while read -r name; do
    dpkg-deb --fsys-tarfile "$root/.kbake/$name.deb" |
        tar -C "$root" --numeric-owner --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
            --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' --exclude='./usr/share/locale/*' -x -f -
done <"$KBAKE_SCRATCH/essential"
