kbake_accel=kvm kbake_cpu=max
if ! timeout 20 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 64M -no-user-config -nodefaults -display none -boot reboot-timeout=0 -no-reboot </dev/null >/dev/null 2>&1; then
  kbake_accel=tcg kbake_cpu=qemu64
  echo 'KVM does not work here: QEMU emulates the machine, which takes minutes to start' >&2
fi
qemu-system-x86_64 \
  -name kubenet-control0 \
  -uuid 0ee1c5f6-1d42-8c72-ace2-8c97e8fb0684 \
  -machine q35 \
  -accel $kbake_accel \
  -cpu $kbake_cpu \
  -smp 2 \
  -m 2048M \
  -drive if=none,id=disk,format=qcow2,discard=unmap,file=/srv/kbake/disks/control0.qcow2 \
  -device virtio-blk-pci,drive=disk,bootindex=1 \
  -drive if=none,id=seed,format=raw,readonly=on,file=/srv/kbake/seeds/control0.iso \
  -device virtio-blk-pci,drive=seed \
  -netdev user,id=net,ipv6=off,net=192.168.3.0/24,host=192.168.3.254,dns=192.168.3.1,dhcpstart=192.168.3.11,restrict=off,hostfwd=tcp:127.0.0.1:22001-192.168.3.11:22,hostfwd=tcp:127.0.0.1:24001-192.168.3.11:2379,hostfwd=tcp:127.0.0.1:26001-192.168.3.11:6443 \
  -device virtio-net-pci,netdev=net,mac=52:54:00:0a:bf:3c \
  -device virtio-rng-pci \
  -rtc base=utc \
  -no-user-config -nodefaults \
  -display none \
  -serial mon:stdio
