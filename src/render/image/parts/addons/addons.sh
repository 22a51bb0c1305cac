#!/bin/sh
# kbake: applies the cluster's add-ons when its API answers, and labels nodes as they register. Run by
# kbake-addons.service with the settings of /etc/kubernetes/addons.env in the environment: ADDONS, CONTROL_PLANES and
# WORKERS are names with commas between them.
#
# It may be ended at any time: what is applied twice is the same. Only when all is done it says so in a stamp, which holds
# as long as manifests and settings are the same ones.
set -eu

# For tests: another root, and no time to lose.
root=${KBAKE_ROOT:-}
pause=${KBAKE_PAUSE:-5}

: "${ADDONS=}" "${CONTROL_PLANES=}" "${WORKERS=}"

state=$root/var/lib/kbake
stamp=$state/addons.stamp

say() {
    echo "kbake-addons: $*" >&2
}

api() {
    kubectl --kubeconfig "$root/etc/kubernetes/addons.conf" --request-timeout=60s "$@"
}

# Names with commas between them, one per line.
names() {
    echo "$1" | tr ',' '\n' | sed '/^$/d'
}

# The folders of an add-on: what its publisher released, then what the cluster adds.
folders() {
    for folder in "$root/usr/share/kbake/addons/$1" "$root/etc/kubernetes/addons/$1"; do
        if [ -d "$folder" ]; then
            echo "$folder"
        fi
    done
}

# What all depends on, as one word.
digest() {
    {
        echo "$ADDONS:$CONTROL_PLANES:$WORKERS"
        for addon in $(names "$ADDONS"); do
            for folder in $(folders "$addon"); do
                find "$folder" -type f -exec sha256sum {} + | LC_ALL=C sort
            done
        done
    } | sha256sum | cut -d ' ' -f 1
}

wait_for_api() {
    until api get --raw /readyz >/dev/null 2>&1; do
        sleep "$pause"
    done
}

# One folder of manifests, once.
apply() {
    if api apply --server-side --force-conflicts --field-manager=kbake -f "$1" >"$state/addons.log" 2>&1; then
        say "$1 is applied"
        return 0
    fi
    say "$1 is not taken yet: $(tail -n 1 "$state/addons.log")"
    return 1
}

# All folders, in their order, and those that were not taken again and again: kinds are known some time after they were
# made, and webhooks answer some time after they were started. One that is wrong for good keeps no other waiting.
apply_all() {
    waiting=$1
    while [ -n "$waiting" ]; do
        left=
        while read -r folder; do
            apply "$folder" || left="$left$folder
"
        done <<END
$(echo "$waiting" | sed '/^$/d')
END
        waiting=$left
        if [ -n "$waiting" ]; then
            sleep "$pause"
        fi
    done
}

# Kubelets must not give themselves these labels (KEP-279).
label() {
    api label --overwrite node "$1" "node-role.kubernetes.io/$2=" >/dev/null
    say "$1 is labelled: $2"
}

label_all() {
    waiting="$(names "$CONTROL_PLANES" | sed 's/$/ control-plane/')
$(names "$WORKERS" | sed 's/$/ worker/')"
    while [ -n "$waiting" ]; do
        registered=$(api get nodes --output=name) || registered=
        left=
        while read -r node role; do
            [ -n "$node" ] || continue
            if ! echo "$registered" | grep -q -x -F "node/$node" || ! label "$node" "$role"; then
                left="$left$node $role
"
            fi
        done <<END
$waiting
END
        waiting=$left
        if [ -n "$waiting" ]; then
            sleep "$pause"
        fi
    done
}

mkdir -p "$state"
now=$(digest)
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then
    say "nothing has changed"
    exit 0
fi

say "waiting for the API server"
wait_for_api
# What is applied selects nodes by these labels, so nobody waits for the other: labels are put on beside.
label_all &
labels=$!
trap 'kill "$labels" 2>/dev/null || true' EXIT

absent=
present=
for addon in $(names "$ADDONS"); do
    found=$(folders "$addon")
    if [ -n "$found" ]; then
        present="$present$found
"
    else
        say "this image has no add-on \`$addon\`: add its part to the role, lock, and build again"
        absent="$absent $addon"
    fi
done
apply_all "$present"

say "waiting for nodes to register"
wait "$labels"
trap - EXIT

if [ -n "$absent" ]; then
    say "not all add-ons are there:$absent"
    exit 3
fi
echo "$now" >"$stamp.new"
mv "$stamp.new" "$stamp"
say "done"
