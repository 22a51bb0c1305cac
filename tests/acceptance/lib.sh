# The common part of the acceptance scripts that run a native cluster; sourced by them.
#
#   SCRIPT COMPONENTS WORK
#
# COMPONENTS   a folder with the programs that tests/kubernetes/build makes; missing ones are built
# WORK         a folder for the role images, kept for a second run; WORK/native/NAME is this cluster's own, new each time
#
# The nodes are the role images' root filesystems with their seeds applied, in namespaces instead of machines (tests/kubernetes/native).
# Needs root, Go, and the tools of tests/setup.sh. Everything but the folders is removed with the script.
# KBAKE names the program (default: target/release/kbake).
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# The arguments of the script before the folders.
arguments=()

# begin NAME COMPONENTS WORK CHANNEL:ROLE... -- runs the rest of the script where the cluster's network is.
begin() {
  name=$1
  mkdir -p "${2:?"a folder for components: see tests/acceptance/lib.sh"}" "${3:?"a folder to work in: see tests/acceptance/lib.sh"}"
  components=$(cd "$2" && pwd)
  work=$(cd "$3" && pwd)
  shift 3
  export KBAKE=${KBAKE:-$root/target/release/kbake} PATH=$components/kubernetes-1.36:$PATH
  if [ -n "${KBAKE_INSIDE:-}" ]; then
    cd "$work/native/$name" || exit 1
    return
  fi
  [ "$(id -u)" = 0 ] || { echo "root is needed for namespaces: sudo $0" >&2; exit 1; }
  for tool in go ip dnsmasq qemu-img xorriso nsenter etcdctl; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: run tests/setup.sh" >&2; exit 1; }
  done
  [ -x "$KBAKE" ] || cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml"
  bake "$@"
  rm -rf "$work/native/$name"
  mkdir -p "$work/native/$name/images"
  cd "$work/native/$name" || exit 1
  local folder image
  for folder in images images-1.35; do
    for image in "$work/$folder"/*.qcow2; do
      [ ! -e "$image" ] || cp -l "$image" "images/$(basename "$image" .qcow2)$(sed 's/^images//; s/\./-/' <<<"$folder").qcow2"
    done
  done
  (cd "$root/tests/kubernetes/native" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$work/native/$name/bin/native" .)
  script=${script:-$root/tests/acceptance/$(basename "$0")}
  export KBAKE_INSIDE=1
  cluster
  for step in "pki init" "seed --all" "disk --all" "kubeconfig --out admin.conf"; do
    # Words, on purpose.
    # shellcheck disable=SC2086
    "$KBAKE" $step --quiet >made 2>&1 || { cat made >&2; exit 1; }
  done
  "$work/native/$name/bin/native" run --kbake "$KBAKE" --images "$work/native/images" --work "$work/native/$name/state" -- \
    "$script" "${arguments[@]}" "$components" "$work" || exit
  # A cluster that has failed stays, to be looked at.
  rm -rf "$work/native/$name"
  exit 0
}

# Builds and bakes what is not there yet, or is older than the programs that go into it.
bake() {
  local role modules=() missing=()
  for role; do
    local images=images${role%%:*}
    images=${images/imagesupstream/images}
    local image=$work/$images/${role#*:}.qcow2 other='*-1.35*'
    [ "$images" = images ] || other='*-1.36*'
    if [ ! -e "$image" ] || [ -n "$(find "$components" \( -name "$other" -o -name 'conformance*' -o -name '.*' \) -prune -o -type f -newer "$image" -print -quit)" ]; then
      missing+=("$role")
    fi
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  for role in runc containerd etcd cni-plugins crictl kubernetes-1.36 coredns metallb {runc,containerd,etcd,coredns,kubernetes}-1.35; do
    case "$role ${missing[*]}" in
      *-1.35\ *upstream-1.35:*) ;;
      *-1.35\ *) continue ;;
    esac
    [ -d "$components/$role" ] || modules+=("$role")
  done
  [ "${#modules[@]}" = 0 ] || "$root/tests/kubernetes/build" "$components" "${modules[@]}"
  "$root/tests/kubernetes/bake" "$components" "$work" "${missing[@]}"
}

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
die() {
  printf '%4ds  FAILED: %s\n' "$SECONDS" "$*" >&2
  exit 1
}

kube() { timeout 60 kubectl --kubeconfig admin.conf --request-timeout=20s "$@"; }
etcd() {
  local keys=(secrets/*/etcd-admin.key)
  local folder=${keys[0]%/*}
  ETCDCTL_API=3 etcdctl --command-timeout=20s --dial-timeout=5s --cacert "$folder/etcd-ca.crt" --cert "$folder/etcd-admin.crt" \
    --key "$folder/etcd-admin.key" "$@"
}

# wait_for SECONDS WHAT COMMAND... -- tries until it works, and says when. The seconds are a calm host's, several times over; on a
# busy one PATIENCE multiplies them.
wait_for() {
  local until=$((SECONDS + $1 * ${PATIENCE:-4})) what=$2
  shift 2
  until "$@" >answer 2>&1; do
    if [ "$SECONDS" -ge "$until" ]; then
      cat answer >&2
      kube get pods --all-namespaces -o wide >&2 || true
      die "no $what in time"
    fi
    sleep 0.5
  done
  say "$what"
}

# all_ready NUMBER: so many nodes are registered, and all of them are Ready.
all_ready() {
  [ "$(kube get nodes --no-headers | grep -c ' Ready')" = "$1" ]
}

# The API's own pods and the add-ons' run, and none has been started again.
all_running() {
  ! kube get pods --all-namespaces --no-headers | grep -vE ' ([0-9]+)/\1 +(Running|Completed) ' || return 1
}

# A deployment, its service with a fixed NodePort, and a pod to ask from. The image is the toolbox of tests/kubernetes/bake.
# Nothing makes the pod anew: it stays where it is while its node is away, and an emulated one is away for longer than the five minutes
# after which Kubernetes would delete it.
toolbox=registry.k8s.io/e2e-test-images/busybox:1.35.0
put_web() { # TYPE of the service
  # Until a controller has made it, a pod is refused.
  wait_for 60 "the account of pods" kube get serviceaccount default
  kube apply -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ${WEB_SPREAD:-DoNotSchedule}
          nodeTaintsPolicy: Honor
          labelSelector: { matchLabels: { app: web } }
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: $toolbox
          imagePullPolicy: Never
          command: [sh, -c, "hostname >/www/index.html && echo serving && exec httpd -f -v -p 8080 -h /www"]
          volumeMounts: [{ name: www, mountPath: /www }]
          readinessProbe: { httpGet: { port: 8080, path: / }, periodSeconds: 1, timeoutSeconds: ${PATIENCE:-1} }
      volumes: [{ name: www, emptyDir: {} }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: $1, selector: { app: web }, ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: asker }
spec:
  terminationGracePeriodSeconds: 0
  tolerations: [{ operator: Exists, effect: NoExecute }]
  containers: [{ name: asker, image: "$toolbox", imagePullPolicy: Never, command: [sleep, "1000000"] }]
END
}
web_is_ready() {
  kube rollout status deployment/web --timeout=15s && kube wait --for=condition=Ready pod/asker --timeout=15s
}
from_pod() { kube exec asker -- wget -q -O - "$1"; }
from_here() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end="")' "$1"; }
from_node() { native exec "$1" python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end="")' "$2"; }

# No unit of a node has failed, and no component says that it was configured wrongly.
quiet_nodes() {
  local node found
  for node; do
    found=$(native exec "$node" systemctl --failed)
    [ -z "$found" ] || die "$node: failed units: $found"
    found=$(native exec "$node" sh -c 'cat /run/kbake-native/log/kubelet.service /run/kbake-native/log/containerd.service \
      /run/kbake-native/log/kube-proxy.service /var/log/pods/kube-system_kube-*/*/*.log 2>/dev/null' |
      grep -iE 'unknown field|unknown flag|lenient decoding|deprecated|strict decoding' |
      grep -viE 'cgroup ?v1|deprecated\.daemonset\.template\.generation' | head -n 5 || true) # the host's own, and an annotation's name
    [ -z "$found" ] || die "$node: $found"
  done
  say "no unit has failed on $*, no component complains of its configuration"
}

# cut_seed NODE REGEX -- takes the files out of a seed whose paths match.
cut_seed() {
  local seed
  seed=$(echo images/seeds/*/"$1.iso")
  rm -rf plain
  xorriso -osirrox on -indev "$seed" -extract / plain >/dev/null 2>&1
  chmod -R u+w plain
  python3 - plain/user-data "$2" <<'END'
import re, sys, yaml
path, cut = sys.argv[1:]
data = yaml.safe_load(open(path))
data["write_files"] = [f for f in data["write_files"] if not re.search(cut, f["path"])]
open(path, "w").write("#cloud-config\n" + yaml.safe_dump(data))
END
  rm -rf "$seed"
  genisoimage -quiet -volid cidata -joliet -rock -o "$seed" plain
}

# For kubeadm: this host's own cgroups, no swap to look at, and a file of the kernel's.
# shellcheck disable=SC2034 # kubeadm and kubeadm-ha read it
preflight=SystemVerification,Swap,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables

# on NODE COMMAND...
on() { native exec "$@"; }

# The account of `native count`, begun before a fault and read after it.
begin_counting() {
  native count admin.conf "$PWD/account" &
  counter=$!
}
end_counting() {
  kill -TERM "$counter"
  wait "$counter" || true
  sed 's/^/       /' account
}
