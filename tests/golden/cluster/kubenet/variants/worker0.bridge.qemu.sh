kbake_accel=kvm kbake_cpu=max
if ! timeout 20 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 64M -no-user-config -nodefaults -display none -boot reboot-timeout=0 -no-reboot </dev/null >/dev/null 2>&1; then
  kbake_accel=tcg kbake_cpu=qemu64
  echo 'KVM does not work here: QEMU emulates the machine, which takes minutes to start' >&2
fi
qemu-system-x86_64 \
  -name kubenet-worker0 \
  -uuid d320aba7-5ad5-8627-a58b-7f9e05b46eef \
  -machine q35 \
  -accel $kbake_accel \
  -cpu $kbake_cpu \
  -smp 4 \
  -m 4096M \
  -drive if=none,id=disk,format=qcow2,discard=unmap,file=/srv/kbake/disks/worker0.qcow2 \
  -device virtio-blk-pci,drive=disk,bootindex=1 \
  -drive if=none,id=seed,format=raw,readonly=on,file=/srv/kbake/seeds/worker0.iso \
  -device virtio-blk-pci,drive=seed \
  -netdev bridge,id=net,br=kubr0 \
  -device virtio-net-pci,netdev=net,mac=52:54:00:0b:17:27 \
  -device virtio-rng-pci \
  -rtc base=utc \
  -no-user-config -nodefaults \
  -display none \
  -serial mon:stdio
