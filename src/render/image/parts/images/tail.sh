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

# Both units may run at once when one is started again.
mkdir -p "$boot"
exec 9>"$boot/lock"
flock 9

# What is not known to be whole goes first, all of it: images share layers, and one that stays would keep a broken one.
# Later in the same boot what is here is whole, and pods may use it.
unclean=
here=
left=
for archive in "$images"/*.tar; do
    [ -e "$archive" ] || continue
    # An OCI layout with one image: its index, on one line, names that image and the digest of its manifest.
    if ! index=$(tar -xOf "$archive" index.json); then
        trouble "$archive is no OCI archive"
        continue
    fi
    name=$(printf '%s\n' "$index" | sed -n 's/.*"io\.containerd\.image\.name": *"\([^"]*\)".*/\1/p')
    digest=$(printf '%s\n' "$index" | sed -n 's/.*"digest": *"\(sha256:[0-9a-f]*\)".*/\1/p')
    if [ -z "$name" ] || [ -z "$digest" ]; then
        trouble "$archive does not say which image it has"
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
