#!/bin/sh
# kbake: brings the container images in /usr/share/kbake/images into the container runtime, by need: the sandbox's, then those
# that static pods name, then all others. What was brought before and is still there, under its name and with its digest,
# costs a question. With the argument `first` the others are left for later: the kubelet does not wait for them.
#
# The folders are variables for the tests only.
set -eu
LC_ALL=C
export LC_ALL

images=${KBAKE_IMAGES:-/usr/share/kbake/images}
manifests=${KBAKE_MANIFESTS:-/etc/kubernetes/manifests}
# Which images are here whole: `name digest`, one on a line. Written after a sync: when the power goes before that, the
# runtime's own books may name an image whose files are empty.
brought=${KBAKE_BROUGHT:-/var/lib/kbake/images}
# What is known of this boot: `clean` says that no such image is left, `done` that all are here.
boot=${KBAKE_BOOT:-/run/kbake-images}
which=${1:-all}
failed=

# One image that cannot be brought keeps no other waiting.
trouble() {
    echo "kbake-images: $*" >&2
    failed=yes
}

