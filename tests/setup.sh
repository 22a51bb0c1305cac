#!/usr/bin/env bash
# Installs what the tests need on a Debian-like host. kbake itself needs less: `kbake build` names what it misses.
set -euo pipefail

packages=(
  # to compile
  gcc libc6-dev
  # what `kbake build` and `kbake lock` run: apt, dpkg, perl, gpgv and, when not root, user namespaces
  apt dpkg perl gpgv debian-archive-keyring mount hostname util-linux uidmap
  # foreign judges of what kbake writes
  qemu-utils e2fsprogs gdisk fdisk xorriso genisoimage dosfstools mtools grub-common grub-pc-bin systemd gpg gpg-agent gpgconf xz-utils zstd
  python3 python3-yaml openssl dnsmasq-base libvirt-clients libxml2-utils
  # what cloud-init's own check of seeds imports
  python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema python3-requests
  # a machine to boot the image, and the clients that talk to it
  qemu-system-x86 seabios etcd-client openssh-client iproute2
  # the peers of the benchmark, and the tests' attackers
  attr fakeroot strace git ca-certificates passwd time cloud-image-utils
)

sudo=()
if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q

# A host may have newer qemu-utils from backports, which the release's qemu-system-x86 refuses to stand beside.
# Both then come from the release.
install=("${sudo[@]}" apt-get install -q -y --no-install-recommends)
if ! "${install[@]}" "${packages[@]}"; then
  # shellcheck source=/dev/null
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  "${install[@]}" --allow-downgrades "qemu-utils/$release" "qemu-system-common/$release" "${packages[@]}"
fi

# Both judge seeds, and are unpacked, not installed: cloud-init would configure this very host at its next boot, and
# etcd's package would start a server.
judges=/usr/local/lib/kbake-tests
if [ ! -d "$judges/cloud-init" ] || [ ! -e "$judges/etcd" ]; then
  unpacked=$(mktemp -d)
  (cd "$unpacked" && apt-get download -q cloud-init etcd-server && for deb in *.deb; do dpkg-deb -x "$deb" .; done)
  "${sudo[@]}" rm -rf "$judges"
  "${sudo[@]}" mkdir -p "$judges"
  "${sudo[@]}" cp -r "$unpacked/usr/lib/python3/dist-packages" "$judges/cloud-init"
  "${sudo[@]}" cp "$unpacked/usr/bin/etcd" "$judges/etcd"
  "${sudo[@]}" chmod -R a+rX "$judges"
  rm -r "$unpacked"
fi

# kubectl reads kubeconfigs; a host may have it from elsewhere than Debian's kubernetes-client.
command -v kubectl >/dev/null || "${install[@]}" kubernetes-client

# The same image must come out whoever builds it. useradd gives the user the subordinate ids that this takes.
id -u kbake-test >/dev/null 2>&1 || "${sudo[@]}" useradd --create-home --shell /usr/sbin/nologin kbake-test

command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.89 or newer with rustup" >&2; exit 1; }
for component in clippy fmt; do
  cargo "$component" --version >/dev/null || { echo "cargo $component is missing: rustup component add clippy rustfmt" >&2; exit 1; }
done

# The schemas of bills of materials lie in two crates, which are fetched and not compiled.
cargo fetch --quiet --locked --manifest-path "$(dirname "$0")/schemas/Cargo.toml"
