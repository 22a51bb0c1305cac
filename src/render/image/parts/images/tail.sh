is_here() {
    [ "$(digest_of "$1")" = "$2" ]
}

# What is not known to be whole goes first, all of it: images share layers, and one that stays would keep a broken one.
now=
left=
for archive in "$images"/*.tar; do
    [ -e "$archive" ] || continue
    # An OCI layout with one image: its index, on one line, names that image and the digest of its manifest.
    index=$(tar -xOf "$archive" index.json) || fail "$archive is no OCI archive"
    name=$(printf '%s\n' "$index" | sed -n 's/.*"io\.containerd\.image\.name": *"\([^"]*\)".*/\1/p')
    digest=$(printf '%s\n' "$index" | sed -n 's/.*"digest": *"\(sha256:[0-9a-f]*\)".*/\1/p')
    { [ -n "$name" ] && [ -n "$digest" ]; } || fail "$archive does not say which image it has"
    now="$now$name $digest
"
    if is_here "$name" "$digest"; then
        if grep -qxF "$name $digest" "$brought" 2>/dev/null; then
            continue
        fi
        echo "$name may have been brought by halves: once more"
        drop "$name" || fail "cannot remove $name"
    fi
    left="$left$archive $name $digest
"
done

echo "$left" | while read -r archive name digest; do
    [ -n "$archive" ] || continue
    echo "$name ($digest)"
    bring "$archive" "$name" </dev/null || fail "cannot bring $name"
    is_here "$name" "$digest" || fail "$name has the digest $(digest_of "$name"), expected $digest"
done

if [ -n "$left" ]; then
    sync
    printf '%s' "$now" >"$brought.new"
    sync "$brought.new"
    mv "$brought.new" "$brought"
fi
