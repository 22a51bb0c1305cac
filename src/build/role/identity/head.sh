#!/bin/sh
# kbake: makes what these packages make when they are installed. What the node has already stays as it is.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
failed=0

# place FILE MODE OWNER: what comes on the standard input becomes the file, all of it or nothing.
place() {
    (umask 077 && cat >"$1.new") && [ -s "$1.new" ] && chown "$3" "$1.new" && chmod "$2" "$1.new" && sync "$1.new" &&
        mv -f "$1.new" "$1" || { rm -f "$1.new"; return 1; }
}

# made WHAT STATUS
made() {
    [ "$2" = 0 ] || { echo "$1 could not be made" >&2; failed=1; }
}
