#!/usr/bin/env bash
# Installs the tools of the tests on a Debian-like host. kbake itself needs less: `kbake build` names what is missing.
set -euo pipefail

packages=(
  # to compile
  gcc g++ libc6-dev libseccomp-dev
  # tools that `kbake build` and `kbake lock` run: apt, dpkg, perl, gpgv and, when not root, user namespaces
  apt dpkg perl gpgv debian-archive-keyring mount hostname util-linux uidmap
  # reference tools that check what kbake writes
  qemu-utils e2fsprogs gdisk fdisk xorriso genisoimage dosfstools mtools xfsprogs btrfs-progs cpio grub-common grub-pc-bin systemd gpg gpg-agent gpgconf xz-utils zstd
  # programs that make keys, none of which may stay in an image
  putty-tools age
  python3 python3-pip python3-yaml openssl dnsmasq-base libvirt-clients libxml2-utils jq
  # reads container images as podman and CRI-O do
  skopeo
  # a node's own tools: its scripts' shell and their linter, its pods' network and packet filter
  dash shellcheck containernetworking-plugins iptables iputils-ping nftables
  # imports of cloud-init's own check of seeds
  python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema python3-requests
  # a gateway's program (its package starts it, and it listens nowhere)
  haproxy
  # a machine to boot the image, and its clients
  qemu-system-x86 seabios etcd-client openssh-client iproute2
  # the peers of the benchmark, and the tests' attackers
  attr fakeroot strace git ca-certificates passwd time cloud-image-utils
  # the benchmark's inputs, and a peer for the base's installation
  binutils curl dpkg-dev mmdebstrap wget
)

sudo=()
if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q

# A host may have newer qemu-utils from backports, which conflict with the release's qemu-system-x86.
# Both then come from the release.
install=("${sudo[@]}" apt-get install -q -y --no-install-recommends)
if ! "${install[@]}" "${packages[@]}"; then
  # shellcheck source=/dev/null
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  "${install[@]}" --allow-downgrades "qemu-utils/$release" "qemu-system-common/$release" "${packages[@]}"
fi

# These are unpacked, not installed: cloud-init would configure this host at its next boot, and the packages of etcd and containerd
# would start servers. Container images are built from the static programs.
judges=/usr/local/lib/kbake-tests
if [ ! -d "$judges/cloud-init" ] || [ ! -e "$judges/etcd" ] || [ ! -d "$judges/containerd" ] || [ ! -d "$judges/static" ]; then
  unpacked=$(mktemp -d)
  (cd "$unpacked" && apt-get download -q cloud-init etcd-server containerd runc busybox-static catatonit &&
    for deb in *.deb; do dpkg-deb -x "$deb" .; done)
  "${sudo[@]}" rm -rf "$judges"
  "${sudo[@]}" mkdir -p "$judges/containerd" "$judges/static"
  "${sudo[@]}" cp -r "$unpacked/usr/lib/python3/dist-packages" "$judges/cloud-init"
  "${sudo[@]}" cp "$unpacked/usr/bin/etcd" "$judges/etcd"
  # Releases differ in which of these are in /bin, /sbin or below /usr.
  find_all() { for name in "$@"; do find "$unpacked" -type f -path "*bin/$name"; done; }
  find_all containerd containerd-shim-runc-v2 ctr runc | xargs "${sudo[@]}" cp -t "$judges/containerd"
  find_all busybox catatonit | xargs "${sudo[@]}" cp -t "$judges/static"
  "${sudo[@]}" chmod -R a+rX "$judges"
  rm -r "$unpacked"
fi

# The registry that images are fetched from; its package would start a system service.
if [ ! -e "$judges/docker-registry" ]; then
  unpacked=$(mktemp -d)
  (cd "$unpacked" && apt-get download -q docker-registry && dpkg-deb -x docker-registry_*.deb .)
  "${sudo[@]}" mkdir -p "$judges"
  "${sudo[@]}" install -m 0755 "$unpacked/usr/bin/docker-registry" "$judges/docker-registry"
  rm -r "$unpacked"
fi

# kubectl reads kubeconfigs; a host may have it from elsewhere than Debian's kubernetes-client.
command -v kubectl >/dev/null || "${install[@]}" kubernetes-client

# The image must be the same for every user. useradd gives this user the subordinate ids that a build needs.
id -u kbake-test >/dev/null 2>&1 || "${sudo[@]}" useradd --create-home --shell /usr/sbin/nologin kbake-test

command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or newer with rustup" >&2; exit 1; }
command -v go >/dev/null || { echo "go is missing: install Go 1.26 or newer (https://go.dev/doc/install)" >&2; exit 1; }
for component in clippy fmt; do
  cargo "$component" --version >/dev/null || { echo "cargo $component is missing: rustup component add clippy rustfmt" >&2; exit 1; }
done

# The schemas of bills of materials are in two crates, which are fetched and not compiled.
cargo fetch --quiet --locked --manifest-path "$(dirname "$0")/reference/schemas/Cargo.toml"
