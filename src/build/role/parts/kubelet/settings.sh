#!/bin/sh
# kbake: writes each template /usr/share/kbake/templates/GROUP/PATH to /PATH, with the cluster's values in place of
# @KEY@, and with the cluster's own settings of a program over those that the template has. All or nothing: no file is
# touched before every template has been filled in.
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

# Numbers of static pods' probes, where the cluster has no others.
patience() {
    has PROBE_TIMEOUT || echo "PROBE_TIMEOUT=15" >>"$work/values"
    has STARTUP_FAILURES || echo "STARTUP_FAILURES=60" >>"$work/values"
    has LIVENESS_FAILURES || echo "LIVENESS_FAILURES=8" >>"$work/values"
}

# Two more for kubeadm, which has another word for a cluster without kube-proxy.
kubeadm_proxy() {
    mode=$(sed -n 's/^PROXY_MODE=//p' "$work/values")
    case $mode in
        none) printf 'PROXY_DISABLED=true\nKUBEADM_PROXY_MODE=iptables\n' ;;
        ?*) printf 'PROXY_DISABLED=false\nKUBEADM_PROXY_MODE=%s\n' "$mode" ;;
    esac >>"$work/values"
}

# The cluster's own settings. A disk may have those of an earlier seed: they count when cluster.env says so.
components() {
    # Never empty, as the values.
    echo "# PROGRAM, flag or key, NAME, VALUE" >"$work/components"
    has COMPONENTS || return 0
    [ -e "$root/etc/kubernetes/components.conf" ] || fail "$root/etc/kubernetes/components.conf is missing, which $settings speaks of"
    cat "$root/etc/kubernetes/components.conf" >>"$work/components"
}

# The program whose settings the template $1 takes, and the form in which it has them.
taker() {
    case $1 in
        */etc/kubernetes/manifests/*.yaml)
            name=${1##*/}
            echo "pod ${name%.yaml}"
            ;;
        */etc/kubernetes/scheduler.yaml) echo "keys kube-scheduler" ;;
        */var/lib/kube-proxy/config.yaml) echo "keys kube-proxy" ;;
        */etc/kubernetes/kubeadm.yaml) echo "kubeadm kube-proxy" ;;
        *) echo "none none" ;;
    esac
}

# Whether the cluster has a value for $1. An empty one is none.
has() {
    grep -q "^$1=." "$work/values"
}

# The template $1, filled in. One pass from left to right: what looks like a key in a value is left alone, and so are settings.
fill() {
    taker=$(taker "$1")
    awk -F '\t' -v form="${taker% *}" -v program="${taker#* }" '
        function complain(text) {
            print "kbake-settings: " text > "/dev/stderr"
            failed = 1
        }
        function filled(text,    line, key) {
            line = ""
            while (match(text, /@[A-Z][A-Z0-9_]*@/)) {
                key = substr(text, RSTART + 1, RLENGTH - 2)
                if (!(key in value)) complain("there is no value for " key ", which " FILENAME " needs")
                line = line substr(text, 1, RSTART - 1) value[key]
                text = substr(text, RSTART + RLENGTH)
            }
            return line text
        }

        # A flag of a static pod, or of one that kubeadm makes, as often as it has values.
        function put_flag(of, name,    i) {
            for (i = 1; i <= flags[of, name]; i++) {
                if (form == "pod") print indent "- \"--" name "=" substr(flag[of, name, i], 2)
                else print "    - name: \"" name "\"\n      value: " flag[of, name, i]
            }
            flag_done[of, name] = 1
        }
        function put_flags(of,    i) {
            for (i = 1; i <= names[of]; i++) if (!((of, name_of[of, i]) in flag_done)) put_flag(of, name_of[of, i])
        }
        function pod_line(    name) {
            if (!match($0, /^ *- "--[a-z0-9-]+=/)) {
                if (listing) put_flags(program)
                listing = 0
                print filled($0)
                return
            }
            listing = 1
            indent = substr($0, 1, index($0, "-") - 1)
            name = substr($0, length(indent) + 6, RLENGTH - length(indent) - 6)
            if (!((program, name) in flags)) print filled($0)
            else if (!((program, name) in flag_done)) put_flag(program, name)
        }

        # A configuration of keys on two levels.
        function put_key(first, second) {
            if (second == "-") print first ": " setting[program, first, second]
            else print "  " second ": " setting[program, first, second]
            key_done[program, first, second] = 1
        }
        function put_rest(first,    i) {
            for (i = 1; i <= seconds[program, first]; i++) {
                if (!((program, first, second_of[program, first, i]) in key_done)) put_key(first, second_of[program, first, i])
            }
        }
        function key_line(    second) {
            if (match($0, /^[A-Za-z][A-Za-z0-9]*:/)) {
                if (top != "") put_rest(top)
                top = substr($0, 1, RLENGTH - 1)
                top_done[top] = 1
                hidden = ((program, top, "-") in setting) ? 2 : 0
                if (hidden) put_key(top, "-")
                else print filled($0)
                return
            }
            if ($0 !~ /^ / && $0 !~ /^-/) {
                print filled($0)
                return
            }
            if (hidden == 2) return
            if (match($0, /^  [A-Za-z][A-Za-z0-9]*:/)) {
                second = substr($0, 3, RLENGTH - 3)
                hidden = ((program, top, second) in setting)
                if (hidden) {
                    put_key(top, second)
                    return
                }
            }
            if (!hidden) print filled($0)
        }
        function put_keys(    i, first) {
            if (top != "") put_rest(top)
            for (i = 1; i <= firsts[program]; i++) {
                first = first_of[program, i]
                if (first in top_done) continue
                if (!((program, first, "-") in setting)) print first ":"
                put_rest(first)
            }
        }

        # Arguments of the programs that kubeadm starts, and the configuration of its kube-proxy.
        function kubeadm_line(    name) {
            if ($0 == "kind: \"KubeProxyConfiguration\"") of_proxy = 1
            if (of_proxy) {
                key_line()
                return
            }
            if ($0 ~ /^[^ ]/) {
                started = ""
                if ($0 == "apiServer:") started = "kube-apiserver"
                if ($0 == "controllerManager:") started = "kube-controller-manager"
            }
            if ($0 !~ /^    /) arguments = 0
            if ($0 ~ /^    - /) twin = 0
            if (arguments && match($0, /^    - name: "[a-z0-9-]+"$/)) {
                name = substr($0, 14, RLENGTH - 14)
                twin = ((started, name) in flags)
            }
            if (!(arguments && twin)) print filled($0)
            if (started != "" && $0 == "  extraArgs:") {
                arguments = 1
                put_flags(started)
            }
        }

        FNR == 1 { file++ }
        file == 1 {
            at = index($0, "=")
            if (at && length($0) > at) value[substr($0, 1, at - 1)] = substr($0, at + 1)
            next
        }
        file == 2 && /^#/ { next }
        file == 2 && NF == 4 && $2 == "flag" && $3 ~ /^[a-z][a-z0-9-]*$/ && $4 ~ /^".*"$/ {
            if (!(($1, $3) in flags)) name_of[$1, ++names[$1]] = $3
            flag[$1, $3, ++flags[$1, $3]] = $4
            next
        }
        file == 2 && NF == 5 && $2 == "key" && $3 ~ /^[A-Za-z][A-Za-z0-9]*$/ && $4 ~ /^(-|[A-Za-z0-9]+)$/ {
            if (!(($1, $3) in seconds)) first_of[$1, ++firsts[$1]] = $3
            second_of[$1, $3, ++seconds[$1, $3]] = $4
            setting[$1, $3, $4] = $5
            next
        }
        file == 2 {
            complain("a line of components.conf is no setting: " $0)
            next
        }
        form == "pod" { pod_line(); next }
        form == "keys" { key_line(); next }
        form == "kubeadm" { kubeadm_line(); next }
        { print filled($0) }
        END {
            if (listing) put_flags(program)
            if (form == "keys" || of_proxy) put_keys()
            exit failed
        }
    ' "$work/values" "$work/components" "$1"
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
patience
kubeadm_proxy
components

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
