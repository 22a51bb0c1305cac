#!/bin/sh
# kbake: applies the cluster's add-ons when its API answers, and labels nodes as they register. Run by
# kbake-addons.service with the settings of /etc/kubernetes/addons.env in the environment: ADDONS, CONTROL_PLANES and
# WORKERS are names with commas between them.
#
# An add-on is what the cluster gets once and for all (NAME/once/), what its publisher released (NAME.yaml), and then kbake's
# own manifests of it (NAME/), in which @KEY@ stands for a value of cluster.env or addons.env.
#
# It may be ended at any time: what is applied twice is the same. When all is applied it says so in a stamp, which holds as
# long as the manifests are the same ones: from then on they are the administrator's. Labels have a stamp of their own, so
# that a node more gets its label and changes nothing else.
set -eu
LC_ALL=C
export LC_ALL

# For tests: another root, and no time to lose.
root=${KBAKE_ROOT:-}
# Seconds between two attempts; the last ones go on for ever. The API server starts while this waits, on the same processors,
# and each question by kubectl costs as much as many by `listens`.
listen_pauses=${KBAKE_PAUSES:-1 2 4 5}
pauses=${KBAKE_PAUSES:-2 4 8 15 30 60}
: "${ADDONS=}" "${CONTROL_PLANES=}" "${WORKERS=}"

addons=$root/usr/share/kbake/addons
state=$root/var/lib/kbake
stamp=$state/addons.stamp
labelled=$state/labels.stamp
filled=$state/addons

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

# A sed script that puts the cluster's values in. Values have no character that means anything to it; one that has is
# no value, and neither is an empty one.
values() {
    sed -n 's/^\([A-Z][A-Z0-9_]*\)=\([A-Za-z0-9._:\/,=@-]\{1,\}\)$/s|@\1@|\2|g/p' \
        "$root/etc/kubernetes/cluster.env" "$root/etc/kubernetes/addons.env"
    # Seeds of earlier versions do not say it: both pods may be on one node.
    grep -q '^DNS_NODES=' "$root/etc/kubernetes/addons.env" || echo 's|@DNS_NODES@|1|g'
}

# Fills in the manifests of the add-on $1, and says where they are.
fill() {
    mkdir "$filled/$1"
    for manifest in "$addons/$1"/*.yaml; do
        new=$filled/$1/${manifest##*/}
        sed -f "$filled/values" "$manifest" >"$new"
        if missing=$(grep -o '@[A-Z][A-Z0-9_]*@' "$new" | sort -u | tr '\n' ' '); [ -n "$missing" ]; then
            say "the cluster has no value for $missing, which the add-on \`$1\` needs"
            return 1
        fi
    done
    echo "$filled/$1"
}

# Begins to wait anew, with the pauses $1.
begin_waiting() {
    waits=$1
}

# Waits for longer each time.
wait_longer() {
    # Words, on purpose.
    # shellcheck disable=SC2086
    set -- $waits
    sleep "$1"
    shift
    [ $# -eq 0 ] || waits=$*
}

# What of the add-on $1 is to be applied, in this order.
parts() {
    for once in "$addons/$1/once"/*.yaml; do
        if [ -f "$once" ]; then echo "$once"; fi
    done
    if [ -f "$addons/$1.yaml" ]; then echo "$addons/$1.yaml"; fi
    if [ -d "$addons/$1" ]; then fill "$1" || return 1; fi
}

# What all depends on, as one word.
digest() {
    {
        echo "$ADDONS"
        echo "$1" | sed '/^$/d' | while read -r part; do
            find "$part" -type f -exec sha256sum {} + | sort
        done
    } | sha256sum | cut -d ' ' -f 1
}

# Whether anybody takes connections at the API's port.
listens() {
    timeout 5 bash -c ": </dev/tcp/127.0.0.1/$port" 2>/dev/null
}

wait_for_api() {
    port=$(sed -n 's/^API_PORT=\([0-9]\{1,5\}\)$/\1/p' "$root/etc/kubernetes/cluster.env")
    : "${port:=6443}"
    begin_waiting "$listen_pauses"
    until listens; do wait_longer; done
    begin_waiting "$pauses"
    until api get --raw /readyz >/dev/null 2>&1; do wait_longer; done
}

# Pods of add-ons are to find their images here: one that is early would ask a registry, and where there is none ask again
# minutes later. After ten minutes something is wrong with the images, and the rest must not suffer.
wait_for_images() {
    begin_waiting "${KBAKE_PAUSES:-5}"
    attempt=0
    until [ -e "$root/run/kbake-images/done" ] || [ "$attempt" -ge 120 ]; do
        attempt=$((attempt + 1))
        wait_longer
    done
    begin_waiting "$pauses"
    wait_for_images() { :; }
}

# One manifest that is the administrator's from the beginning: it is made, and never changed, when it is there.
create() {
    if api create -f "$1" >"$state/addons.log" 2>&1; then
        say "$1 is made"
    elif grep -q '(AlreadyExists)' "$state/addons.log"; then
        say "$1 is there, and stays as it is"
    else
        say "$1 is not taken yet: $(tail -n 1 "$state/addons.log")"
        return 1
    fi
}

# One file or folder of manifests, once.
apply() {
    case $1 in
        */addons/rbac*) ;;
        *) wait_for_images ;;
    esac
    case $1 in
        */once/*)
            create "$1"
            return
            ;;
    esac
    if api apply --server-side --force-conflicts --field-manager=kbake -f "$1" >"$state/addons.log" 2>&1; then
        say "$1 is applied"
        return 0
    fi
    say "$1 is not taken yet: $(tail -n 1 "$state/addons.log")"
    return 1
}

# All of $1, in their order, and those that were not taken again and again: kinds are known some time after they were
# made, and webhooks answer some time after they were started. One that is wrong for good keeps no other
# waiting.
apply_all() {
    waiting=$1
    begin_waiting "$pauses"
    while [ -n "$waiting" ]; do
        left=
        while read -r part; do
            apply "$part" || left="$left$part
"
        done <<END
$(echo "$waiting" | sed '/^$/d')
END
        [ "$left" = "$waiting" ] || begin_waiting "$pauses"
        waiting=$left
        if [ -n "$waiting" ]; then wait_longer; fi
    done
}

# Kubelets must not give themselves these labels (KEP-279).
label() {
    # Called in a condition, where `set -e` counts for nothing.
    api label --overwrite node "$1" "node-role.kubernetes.io/$2=" >/dev/null || return 1
    say "$1 is labelled: $2"
}

label_all() {
    waiting="$(names "$CONTROL_PLANES" | sed 's/$/ control-plane/')
$(names "$WORKERS" | sed 's/$/ worker/')"
    begin_waiting "$pauses"
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
        [ "$left" = "$waiting" ] || begin_waiting "$pauses"
        waiting=$left
        if [ -n "$waiting" ]; then wait_longer; fi
    done
}

mkdir -p "$state"
rm -rf "$filled"
mkdir "$filled"
values >"$filled/values"
absent=
present=
for addon in $(names "$ADDONS"); do
    if ! found=$(parts "$addon"); then
        absent="$absent $addon"
    elif [ -n "$found" ]; then
        present="$present$found
"
    else
        say "this image has no add-on \`$addon\`: add its part to the role, lock, and build again"
        absent="$absent $addon"
    fi
done

# Whether the stamp $1 says $2.
stamped() {
    [ -e "$1" ] && [ "$(cat "$1")" = "$2" ]
}

# Makes the stamp $1 say $2.
put() {
    echo "$2" >"$1.new"
    mv "$1.new" "$1"
}

now=$(digest "$present")
nodes="$CONTROL_PLANES:$WORKERS"
if stamped "$stamp" "$now" && stamped "$labelled" "$nodes"; then
    say "nothing has changed"
    exit 0
fi
if ! command -v kubectl >/dev/null; then
    say "this image has no kubectl: lock one (\`kbake lock --set kubectl=FILE\`), and build again"
    exit 3
fi

say "waiting for the API server"
wait_for_api
# What is applied selects nodes by these labels, so neither waits for the other.
label_all &
labels=$!
trap 'kill "$labels" 2>/dev/null || true' EXIT
if ! stamped "$stamp" "$now"; then
    apply_all "$present"
    [ -n "$absent" ] || put "$stamp" "$now"
fi

say "waiting for nodes to register"
wait "$labels"
trap - EXIT
put "$labelled" "$nodes"

if [ -n "$absent" ]; then
    say "not all add-ons are there:$absent"
    exit 3
fi
say "done"
