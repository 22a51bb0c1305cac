#!/bin/sh
# kbake: writes each template /usr/share/kbake/templates/GROUP/PATH to /PATH, with the cluster's values in place of
# @KEY@. All or nothing: no file is touched before every template has been filled in.
#
# Groups: stacked-etcd counts when the node is to run etcd, addons when it is to apply them, all others always.
# The root is an argument for the tests only.
set -eu
LC_ALL=C
export LC_ALL
umask 022

root=${1:-}
settings=$root/etc/kubernetes/cluster.env
templates=$root/usr/share/kbake/templates

fail() {
    echo "kbake-settings: $*" >&2
    exit 1
}

work=$(mktemp -d)
: >"$work/filled"
finish() {
    while IFS= read -r path; do
        rm -f "$(beside "$path")"
    done <"$work/filled"
    rm -rf "$work"
}
trap finish EXIT

# Where the contents of $1 are put first. The kubelet takes no manifest whose name begins with a dot.
beside() {
    echo "${1%/*}/.${1##*/}.kbake"
}

# The file is data, never run.
check() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            '' | '#'*) continue ;;
            *=*) ;;
            *) fail "$settings has a line without =: $line" ;;
        esac
        key=${line%%=*}
        case $key in
            [!A-Z]* | *[!A-Z0-9_]* | '') fail "$settings has a bad key: $key" ;;
        esac
        case ${line#*=} in
            *[!A-Za-z0-9._:/,=@-]*) fail "$settings has a character in $key that no value has" ;;
        esac
        grep -q "^$key=" "$work/values" && fail "$settings has $key twice"
        echo "$line" >>"$work/values"
    done <"$settings"
}

# One value more: the name that the kubelet is told to use, for those that have to use the same.
node_name() {
    arguments=$root/etc/kubernetes/kubelet.env
    [ -e "$arguments" ] || return 0
    sed -n 's/^KUBELET_NODE_ARGS=\(.* \)\{0,1\}--hostname-override=\([a-z0-9.-]*\).*/NODE_NAME=\2/p' "$arguments" >>"$work/values"
}

# One more: the API's address as kubeadm wants it, without the scheme.
api_endpoint() {
    endpoint=$(sed -n 's|^API_URL=https://||p' "$work/values")
    if [ -n "$endpoint" ]; then echo "API_ENDPOINT=$endpoint" >>"$work/values"; fi
}

# The node's taints, KEY=VALUE:EFFECT or KEY:EFFECT with commas between them, as a list of the kubelet's configuration.
# In quotes: a taint may have the value `true` or `1`, and the kubelet takes texts only.
register_with_taints() {
    list=
    for taint in $(sed -n 's/^NODE_TAINTS=//p' "$work/values" | tr ',' ' '); do
        what=${taint%:*}
        case $what in
            *=*) value=", value: \"${what#*=}\"" ;;
            *) value= ;;
        esac
        list="$list${list:+, }{key: \"${what%%=*}\"$value, effect: \"${taint##*:}\"}"
    done
    echo "REGISTER_WITH_TAINTS=[$list]" >>"$work/values"
}

# Seeds of earlier versions do not say whether leaders are elected. Where there are several, they must be.
leader_elect() {
    has LEADER_ELECT || echo "LEADER_ELECT=true" >>"$work/values"
}

# Whether the cluster has a value for $1. An empty one is none.
has() {
    grep -q "^$1=." "$work/values"
}

# The template $1, filled in. One pass from left to right: what looks like a key in a value is left alone.
fill() {
    awk '
        FNR == NR {
            at = index($0, "=")
            if (at && length($0) > at) value[substr($0, 1, at - 1)] = substr($0, at + 1)
            next
        }
        {
            line = ""
            while (match($0, /@[A-Z][A-Z0-9_]*@/)) {
                key = substr($0, RSTART + 1, RLENGTH - 2)
                if (!(key in value)) {
                    print "kbake-settings: there is no value for " key ", which " FILENAME " needs" > "/dev/stderr"
                    failed = 1
                }
                line = line substr($0, 1, RSTART - 1) value[key]
                $0 = substr($0, RSTART + RLENGTH)
            }
            print line $0
        }
        END { exit failed }
    ' "$work/values" "$1"
}

# Fills in the templates of the group $1.
fill_group() {
    find "$templates/$1" -type f | sort >"$work/group"
    while IFS= read -r template; do
        path=$root${template#"$templates/$1"}
        mkdir -p "${path%/*}"
        echo "$path" >>"$work/filled"
        fill "$template" >"$(beside "$path")" || fail "nothing was changed: $settings and this image do not fit together"
        chmod --reference="$template" "$(beside "$path")"
    done <"$work/group"
}

# Removes what an earlier boot made of the group $1: a manifest that stays is a pod that runs.
remove_group() {
    find "$templates/$1" -type f >"$work/group"
    while IFS= read -r template; do
        rm -f "$root${template#"$templates/$1"}"
    done <"$work/group"
}

applies() {
    case $1 in
        stacked-etcd) has ETCD_INITIAL_CLUSTER ;;
        addons) [ -e "$root/etc/kubernetes/addons.env" ] ;;
    esac
}

# Never empty, so that awk can tell this file from the template.
echo "# KEY=value" >"$work/values"
check
node_name
api_endpoint
register_with_taints
leader_elect

for folder in "$templates"/*/; do
    [ -d "$folder" ] || continue
    group=$(basename "$folder")
    if applies "$group"; then fill_group "$group"; fi
done
for folder in "$templates"/*/; do
    [ -d "$folder" ] || continue
    group=$(basename "$folder")
    applies "$group" || remove_group "$group"
done
while IFS= read -r path; do
    # What is the same stays untouched: the kubelet starts a pod again whose manifest is a new file.
    if cmp -s "$(beside "$path")" "$path"; then
        rm "$(beside "$path")"
    else
        mv -f "$(beside "$path")" "$path"
        echo "$path"
    fi
done <"$work/filled"
