# What the kubelet asks for is in this namespace.
export CONTAINERD_NAMESPACE=k8s.io

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
    ctr images import "$1" && ctr images label "$2" io.cri-containerd.pinned=pinned >/dev/null
}

