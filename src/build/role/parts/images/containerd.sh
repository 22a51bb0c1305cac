# What the kubelet asks for is in this namespace.
export CONTAINERD_NAMESPACE=k8s.io

# containerd's folder. The images that kbake-images lists lie in it unpacked: their archives have no layers, and there is
# nothing to bring unless a data disk is mounted over the folder, or somebody has removed a name.
store=${KBAKE_STORE:-/var/lib/containerd}
# The same folder of this machine's image, without what is mounted over it.
under=$store
hidden=

# Makes what lies under a data disk visible, to this script alone.
unhide() {
    if [ -n "${KBAKE_UNDER:-}" ]; then
        under=$KBAKE_UNDER
        hidden=yes
        return
    fi
    if [ -e "$store/kbake-images" ] || ! mountpoint -q "$store"; then
        return
    fi
    if [ -z "${KBAKE_UNHIDDEN:-}" ]; then
        export KBAKE_UNHIDDEN=yes
        exec unshare --mount --propagation private "$0" "$@"
    fi
    mkdir -p "$boot/root"
    mount --bind / "$boot/root"
    under=$boot/root$store
    hidden=yes
}

# The images that lie unpacked, and their layers: nothing in an image that has none.
list() {
    cat "$under/kbake-images" 2>/dev/null || :
}

# All images that the runtime has: `name digest`, one on a line.
known() {
    ctr images list | awk '{ print $1, $3 }'
}

# The digest under which the runtime has the image $1; nothing when it has none.
digest_of() {
    ctr images list "name==$1" | awk -v name="$1" '$1 == name { print $3 }'
}

# With the snapshots that nothing else uses.
drop() {
    ctr images remove --sync "$1" >/dev/null
}

# The archive $1 has the image $2. The label keeps it from the kubelet's garbage collection where containerd knows it
# (1.6.22 and later): on a site without registry nobody could bring it back.
bring() {
    case $laid in
        *"
image ${1##*/} "*) lay "${1##*/}" "$1" ;;
        *) ctr images import "$1" ;;
    esac && ctr images label "$2" io.cri-containerd.pinned=pinned >/dev/null
}

# The image of the list whose archive $2 is called $1: its layers first, from the folder of this machine's image.
lay() {
    layers=${laid#*"
image $1 "}
    layers=${layers%%"
image "*}
    config=${layers%%"
"*}
    config=${config##* }
    top=
    while read -r word chain parent number; do
        [ "$word" = layer ] || continue
        top=$chain
        ctr snapshots info "$chain" >/dev/null 2>&1 || copy "$chain" "$parent" "$number" || return 1
    done <<END
$layers
END
    ctr images import --no-unpack "$2" || return 1
    ctr content label "$config" "containerd.io/gc.ref.snapshot.${CONTAINERD_SNAPSHOTTER:-overlayfs}=$top" >/dev/null || return 1
    # The image keeps them from now on, and takes them with it when it is removed.
    while read -r word chain parent number; do
        [ "$word" = layer ] || continue
        ctr snapshots label "$chain" containerd.io/gc.root= >/dev/null || return 1
    done <<END
$layers
END
}

# The layer $1 over $2, which is the snapshot $3 of this machine's image.
copy() {
    from=$under/io.containerd.snapshotter.v1.overlayfs/snapshots/$3/fs
    if [ ! -d "$from" ]; then
        echo "kbake-images: $from is not there" >&2
        return 1
    fi
    [ "$2" != - ] || set -- "$1" ""
    # A power cut may have left one.
    ctr snapshots remove "kbake-$1" >/dev/null 2>&1 || :
    mounts=$(ctr snapshots prepare --target "$boot/none" "kbake-$1" ${2:+"$2"}) || return 1
    to=$(printf '%s\n' "$mounts" | sed -n -e 's/.*upperdir=\([^,]*\).*/\1/p' -e 's/^mount -t bind \([^ ]*\) .*/\1/p')
    cp -a "$from/." "$to/" && ctr snapshots commit "$1" "kbake-$1"
}

