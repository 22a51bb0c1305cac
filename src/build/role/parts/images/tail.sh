is_here() {
    [ "$(digest_of "$1")" = "$2" ]
}

# The rank by need of the image $2 with the digest $3 out of the archive $1. Manifests may leave out `docker.io/library/`.
rank() {
    short=${2#docker.io/}
    if [ "${1##*/}" = pause.tar ]; then
        echo 0
    elif grep -qsF -e "${short#library/}" -e "$3" "$manifests"/*; then
        echo 1
    else
        echo 2
    fi
}

unhide "$@"
# Images that lie unpacked in the runtime's folder, each on a line of its own that begins with `image`.
laid="
$(list)"

# The image of the archive $1, from that list: sets `name` and `digest`.
is_laid() {
    rest=${laid#*"
image ${1##*/} "}
    [ "$rest" != "$laid" ] || return 1
    rest=${rest%%"
"*}
    name=${rest%% *}
    rest=${rest#* }
    digest=${rest%% *}
}

# The same, from the archive itself: an OCI layout with one image. Its index, on one line, names that image and the digest of
# its manifest.
look_into() {
    if ! index=$(tar -xOf "$1" index.json); then
        trouble "$1 is no OCI archive"
        return 1
    fi
    name=$(printf '%s\n' "$index" | sed -n 's/.*"io\.containerd\.image\.name": *"\([^"]*\)".*/\1/p')
    digest=$(printf '%s\n' "$index" | sed -n 's/.*"digest": *"\(sha256:[0-9a-f]*\)".*/\1/p')
    if [ -z "$name" ] || [ -z "$digest" ]; then
        trouble "$1 does not say which image it has"
        return 1
    fi
}

# True when the runtime has the image $1 with the digest $2, by one question for all images.
is_known() {
    [ -n "$has" ] || has="
$(known)
"
    case $has in
        *"
$1 $2
"*) ;;
        *) return 1 ;;
    esac
}

# Both units may run at once when one is started again.
mkdir -p "$boot"
exec 9>"$boot/lock"
flock 9

# What is not known to be whole goes first, all of it: images share layers, and one that stays would keep a broken one.
# Later in the same boot what is here is whole, and pods may use it.
unclean=
here=
left=
has=
for archive in "$images"/*.tar; do
    [ -e "$archive" ] || continue
    if ! is_laid "$archive"; then
        look_into "$archive" || continue
    elif [ -z "$hidden" ]; then
        # It was whole before the machine started first: the kubelet does not wait for a question. Only somebody who removed
        # its name can have changed that.
        if [ "$which" != first ] && ! is_known "$name" "$digest"; then
            left="$left$(rank "$archive" "$name" "$digest") $archive $name $digest
"
        fi
        continue
    fi
    if is_here "$name" "$digest"; then
        if [ -e "$boot/clean" ] || grep -qxF "$name $digest" "$brought" 2>/dev/null; then
            here="$here$name $digest
"
            continue
        fi
        echo "$name may have been brought by halves: once more"
        if ! drop "$name"; then
            trouble "cannot remove $name"
            unclean=yes
            continue
        fi
    fi
    left="$left$(rank "$archive" "$name" "$digest") $archive $name $digest
"
done
[ -n "$unclean" ] || : >"$boot/clean"

while read -r rank archive name digest; do
    case $which$rank in
        all[0-2] | first[01]) ;;
        *) continue ;;
    esac
    echo "$name ($digest)"
    if ! bring "$archive" "$name" </dev/null; then
        trouble "cannot bring $name"
    elif ! is_here "$name" "$digest"; then
        trouble "$name has the digest $(digest_of "$name"), expected $digest"
    else
        here="$here$name $digest
"
    fi
done <<END
$(printf '%s' "$left" | sort)
END

here=$(printf '%s' "$here" | sort)
if [ "$here" != "$(cat "$brought" 2>/dev/null || :)" ]; then
    sync
    printf '%s\n' "$here" >"$brought.new"
    sync "$brought.new"
    mv "$brought.new" "$brought"
fi
[ -z "$failed" ] || exit 1
[ "$which" = first ] || : >"$boot/done"
