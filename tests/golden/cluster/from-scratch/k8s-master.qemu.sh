kbake_accel=kvm kbake_cpu=max
if ! timeout 20 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 64M -no-user-config -nodefaults -display none -boot reboot-timeout=0 -no-reboot </dev/null >/dev/null 2>&1; then
  kbake_accel=tcg kbake_cpu=qemu64
  echo 'KVM does not work here: QEMU emulates the machine, which takes minutes to start' >&2
fi
qemu-system-x86_64 \
  -name from-scratch-k8s-master \
  -uuid 814c9f9e-7249-83a3-a630-d5fa88bdd183 \
  -machine q35 \
  -accel $kbake_accel \
  -cpu $kbake_cpu \
  -smp 2 \
  -m 1024M \
  -drive if=none,id=disk,format=qcow2,discard=unmap,file=/srv/kbake/disks/k8s-master.qcow2 \
  -device virtio-blk-pci,drive=disk,bootindex=1 \
  -drive if=none,id=seed,format=raw,readonly=on,file=/srv/kbake/seeds/k8s-master.iso \
  -device virtio-blk-pci,drive=seed \
  -netdev user,id=net,ipv6=off,net=192.168.50.0/24,host=192.168.50.254,dns=192.168.50.1,dhcpstart=192.168.50.10,restrict=off,hostfwd=tcp:127.0.0.1:22000-192.168.50.10:22,hostfwd=tcp:127.0.0.1:24000-192.168.50.10:2379,hostfwd=tcp:127.0.0.1:26000-192.168.50.10:6443 \
  -device virtio-net-pci,netdev=net,mac=52:54:00:3d:14:32 \
  -device virtio-rng-pci \
  -rtc base=utc \
  -no-user-config -nodefaults \
  -display none \
  -serial mon:stdio
