kbake_accel=kvm kbake_cpu=max
if ! timeout 20 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 64M -no-user-config -nodefaults -display none -boot reboot-timeout=0 -no-reboot </dev/null >/dev/null 2>&1; then
  kbake_accel=tcg kbake_cpu=qemu64
  echo 'KVM does not work here: QEMU emulates the machine, which takes minutes to start' >&2
fi
qemu-system-x86_64 \
  -name k8s-net-worker00 \
  -uuid d83bc6e8-1227-8de9-9260-2f449d99e2b6 \
  -machine q35 \
  -accel $kbake_accel \
  -cpu $kbake_cpu \
  -smp 2 \
  -m 4096M \
  -drive if=none,id=disk,format=qcow2,discard=unmap,file=/srv/kbake/disks/worker00.qcow2 \
  -device virtio-blk-pci,drive=disk,bootindex=1 \
  -drive if=none,id=seed,format=raw,readonly=on,file=/srv/kbake/seeds/worker00.iso \
  -device virtio-blk-pci,drive=seed \
  -netdev user,id=net,ipv6=off,net=192.168.111.0/24,host=192.168.111.254,dns=192.168.111.1,dhcpstart=192.168.111.98,restrict=off,hostfwd=tcp:127.0.0.1:22004-192.168.111.98:22 \
  -device virtio-net-pci,netdev=net,mac=52:54:00:bf:ca:b4 \
  -device virtio-rng-pci \
  -rtc base=utc \
  -no-user-config -nodefaults \
  -display none \
  -serial mon:stdio
