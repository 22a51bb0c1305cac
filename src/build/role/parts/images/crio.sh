# The storage that CRI-O uses as well, as /etc/containers/storage.conf says. Its locks are on disk.

# No image lies in it unpacked.
unhide() { :; }
list() { :; }
hidden=

# Each image is asked for by its name.
known() { :; }

# The digest under which the storage has the image $1; nothing when it has none.
digest_of() {
    skopeo inspect --format '{{.Digest}}' "containers-storage:$1" 2>/dev/null || :
}

drop() {
    skopeo delete "containers-storage:$1"
}

# The archive $1 has the image $2. CRI-O's own settings keep it from the kubelet's garbage collection.
bring() {
    skopeo --policy "${KBAKE_POLICY:-/etc/crio/policy.json}" copy --quiet --preserve-digests "oci-archive:$1" "containers-storage:$2"
}

