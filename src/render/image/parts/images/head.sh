#!/bin/sh
# kbake: brings the container images in /usr/share/kbake/images into the container runtime. What was brought before and
# is still there, under its name and with its digest, costs a question.
#
# The folders are variables for the tests only.
set -eu

images=${KBAKE_IMAGES:-/usr/share/kbake/images}
# Which images are here whole: `name digest`, one on a line. Written after a sync: when the power goes before that, the
# runtime's own books may name an image whose files are empty.
brought=${KBAKE_BROUGHT:-/var/lib/kbake/images}

fail() {
    echo "kbake-images: $*" >&2
    exit 1
}

