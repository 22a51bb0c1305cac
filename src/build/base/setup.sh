# Run by mmdebstrap in an empty root ($1), before anything is mounted: lays out the base that more packages are to be
# installed in; or else puts the settings there that must stand before the packages, and lays the essential packages'
# files out so that their own dpkg can be run inside.
set -eu
root=$1

# mmdebstrap copies both from the host; a node must know nothing of it.
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"

mkdir -p "$root/.kbake/bin" "$root/.kbake/debs"
# In front of all others in the packages' scripts' path. See install.sh for what happens to what is put off.
cat >"$root/.kbake/bin/py3compile" <<'END'
#!/bin/sh
# Written by kbake: compiling package by package starts Python a hundred times; all are compiled at the end, at once.
echo "$*" >>/.kbake/compile
END
cat >"$root/.kbake/bin/update-initramfs" <<'END'
#!/bin/sh
# Written by kbake: it is built at the end, once.
: >/.kbake/initramfs
END
cat >"$root/.kbake/bin/ssh-keygen" <<'END'
#!/bin/sh
# Written by kbake: an image has no host keys; cloud-init makes them at first boot.
exit 0
END
chmod 755 "$root"/.kbake/bin/*
cp -- "$KBAKE_SCRATCH/compile.py" "$root/.kbake/"

if [ -e "$KBAKE_SCRATCH/ground" ]; then
    echo 'kbake: laying out the base that is there' >&2
    # kbake writes it to the standard input. All that follows is in it.
    exec tar -C "$root" --numeric-owner --xattrs --xattrs-include='*' --delay-directory-restore -x -f -
fi

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
# The root of a node is no device-mapper volume: without this its tools and libraries are not in the initramfs (2 of 17 MB).
path-exclude=/usr/share/initramfs-tools/hooks/dmsetup
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

echo 'kbake: laying out the essential packages' >&2
while read -r name; do
    dpkg-deb --fsys-tarfile "$KBAKE_SCRATCH/debs/$name.deb" |
        tar -C "$root" --numeric-owner --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
            --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' --exclude='./usr/share/locale/*' -x -f -
done <"$KBAKE_SCRATCH/essential"
