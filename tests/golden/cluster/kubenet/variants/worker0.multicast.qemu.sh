{ test -e /srv/kbake/disks/worker0.qcow2 || { mkdir -p /srv/kbake/disks && qemu-img create -q -f qcow2 -F qcow2 -b /srv/kbake/worker.qcow2 /srv/kbake/disks/worker0.qcow2 20G; }; } &&
qemu-system-x86_64 \
  -name kubenet-worker0 \
  -uuid d320aba7-5ad5-8627-a58b-7f9e05b46eef \
  -machine q35 \
  -accel tcg \
  -cpu qemu64 \
  -smp 4 \
  -m 4096M \
  -drive if=none,id=disk,format=qcow2,discard=unmap,file=/srv/kbake/disks/worker0.qcow2 \
  -device virtio-blk-pci,drive=disk,bootindex=1 \
  -drive if=none,id=seed,format=raw,readonly=on,file=/srv/kbake/seeds/worker0.iso \
  -device virtio-blk-pci,drive=seed \
  -netdev socket,id=net,mcast=239.255.75.66:31086,localaddr=127.0.0.1 \
  -device virtio-net-pci,netdev=net,mac=52:54:00:0b:17:27 \
  -device virtio-rng-pci \
  -rtc base=utc \
  -no-user-config -nodefaults \
  -display none \
  -serial mon:stdio
