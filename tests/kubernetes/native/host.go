package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Everything in which a node differs here from the same node as a machine. Each line says why; a host that has what is missing
// here (cgroup v2, CAP_SYS_RESOURCE, more open files) is left alone.

// edit changes a text file of a node's root, when the host asks for it.
type edit struct {
	path string
	why  string
	here func() bool
	edit func(string) string
}

func always() bool { return true }

var edits = []edit{
	{
		"/etc/containerd/config.toml", "no systemd runs here that would make the containers' cgroups", always,
		func(text string) string {
			return strings.ReplaceAll(text, "SystemdCgroup = true", "SystemdCgroup = false")
		},
	},
	{
		"/etc/containerd/config.toml", "without CAP_SYS_RESOURCE no process may be kept from the OOM killer", lacksSysResource,
		func(text string) string {
			if strings.Contains(text, "restrict_oom_score_adj") {
				return text
			}
			plugin := `[plugins."io.containerd.cri.v1.runtime"]`
			if !strings.Contains(text, "io.containerd.cri.v1.runtime") {
				plugin = `[plugins."io.containerd.grpc.v1.cri"]`
			}
			if strings.Contains(text, plugin+"\n") {
				return strings.Replace(text, plugin+"\n", plugin+"\nrestrict_oom_score_adj = true\n", 1)
			}
			return text + "\n" + plugin + "\nrestrict_oom_score_adj = true\n"
		},
	},
	{
		kubeletConfig, "as containerd above; a runtime of version 2 says so itself", always,
		func(text string) string {
			return strings.ReplaceAll(text, "cgroupDriver: systemd", "cgroupDriver: cgroupfs")
		},
	},
	{
		kubeletConfig, "the host has cgroup v1, which a kubelet from 1.35 on refuses", cgroupV1,
		func(text string) string {
			if strings.Contains(text, "failCgroupV1") {
				return text
			}
			return text + "failCgroupV1: false\n"
		},
	},
	{
		kubeletConfig, "the disk is the host's, and how full it is says nothing of the node", always, roomy,
	},
	{
		kubeadmConfig, "likewise", always, roomy,
	},
	{
		kubeadmConfig, "what kubeadm gives to nodes that join: as the kubelet's configuration above", cgroupV1,
		func(text string) string {
			return inDocument(text, "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", "failCgroupV1: false", "cgroupDriver: cgroupfs")
		},
	},
	{
		kubeadmConfig, "kube-proxy in a pod sees the kernel's own file, which a network namespace of its own may not set", always,
		func(text string) string {
			return inDocument(text, "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration", "conntrack: {maxPerCore: 0, min: 0}")
		},
	},
	{
		"/etc/haproxy/haproxy.cfg", "each connection takes two files, and the host lets a process have fewer than it asks for", always,
		func(text string) string {
			return maxconn.ReplaceAllStringFunc(text, func(line string) string {
				wanted, _ := strconv.ParseUint(maxconn.FindStringSubmatch(line)[1], 10, 64)
				if files := openFiles(); files < 2*wanted+1000 {
					return "maxconn " + strconv.FormatUint((files-1000)/2, 10)
				}
				return line
			})
		},
	},
}

const (
	kubeletConfig = "/usr/share/kbake/templates/node/var/lib/kubelet/config.yaml"
	kubeadmConfig = "/usr/share/kbake/templates/kubeadm/etc/kubernetes/kubeadm.yaml"
)

// roomy lets a kubelet take a full disk for one with room.
var roomy = strings.NewReplacer(
	"nodefs.available: 5%", "nodefs.available: 100Mi", "imagefs.available: 5%", "imagefs.available: 100Mi",
	"imageGCHighThresholdPercent: 95", "imageGCHighThresholdPercent: 100",
).Replace

// inDocument adds lines to the document of a kind, which it makes where the file has none.
func inDocument(text, version, kind string, lines ...string) string {
	if strings.Contains(text, lines[0]) {
		return text
	}
	added := strings.Join(lines, "\n") + "\n"
	for _, line := range []string{"kind: \"" + kind + "\"\n", "kind: " + kind + "\n"} {
		if strings.Contains(text, line) {
			return strings.Replace(text, line, line+added, 1)
		}
	}
	return text + "---\napiVersion: " + version + "\nkind: " + kind + "\n" + added
}

var maxconn = regexp.MustCompile(`maxconn (\d+)`)

// shadow is a file of the kernel's that is the whole host's: a node sees a file of its own there, which holds what it would set.
type shadow struct{ path, value, why string }

var shadows = []shadow{
	{"/proc/sys/vm/overcommit_memory", "1", "the kubelet sets it"},
	{"/proc/sys/vm/panic_on_oom", "0", "likewise"},
	{"/proc/sys/kernel/panic", "10", "likewise"},
	{"/proc/sys/kernel/panic_on_oops", "1", "likewise"},
	{"/proc/sys/kernel/keys/root_maxkeys", "1000000", "likewise"},
	{"/proc/sys/kernel/keys/root_maxbytes", "25000000", "likewise"},
	{"/proc/sys/net/netfilter/nf_conntrack_max", "1048576", "kube-proxy sets it; a network namespace of its own may not"},
	{"/sys/module/nf_conntrack/parameters/hashsize", "262144", "likewise"},
}

// The only settings of the host that are raised, for as long as a cluster runs: what many nodes share as one user.
var raised = []shadow{
	{"/proc/sys/fs/inotify/max_user_instances", "8192", "91-kbake-node.conf asks for it; 128 are too few for three nodes"},
	{"/proc/sys/fs/inotify/max_user_watches", "524288", "likewise"},
}

// absent says of units that are not run here who does their work. A name that ends in `-` or `@` stands for all that begin so.
var absent = []struct{ name, why string }{
	{"systemd-tmpfiles-setup.service", ""}, // run: it makes folders that services need
	{"systemd-", "the machine's own: devices, clock, journal, network, logins. The harness mounts, names and links the node"},
	{"cloud-", "the harness applies the seed"},
	{"dbus.", "nobody speaks on the bus: no logind, no networkd"},
	{"dbus-", "likewise"},
	{"ssh.", "`native exec` is the way in"},
	{"sshd.", "likewise"},
	{"sshd-", "likewise"},
	{"getty", "no console"},
	{"kmod-", "modules are the host's"},
	{"modprobe@", "likewise"},
	{"cryptsetup", "no such disks"},
	{"integritysetup", "likewise"},
	{"veritysetup", "likewise"},
	{"remote-fs", "no such mounts"},
	{"nfs-", "no NFS server in the tests' network"},
	{"rpc", "likewise"},
	{"auth-rpcgss", "likewise"},
}

// leftOut is why a unit is not run here, or nothing when it is.
func leftOut(unit string) string {
	for _, line := range absent {
		if strings.HasPrefix(unit, line.name) {
			return line.why
		}
	}
	return ""
}

func cgroupV1() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err != nil
}

// lacksSysResource reads the bounding set: CAP_SYS_RESOURCE is number 24.
func lacksSysResource() bool {
	status, err := os.ReadFile("/proc/self/status")
	check(err, "reading /proc/self/status")
	for line := range strings.Lines(string(status)) {
		if set, found := strings.CutPrefix(line, "CapBnd:"); found {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			check(err, "reading the capabilities")
			return bits&(1<<24) == 0
		}
	}
	return false
}

func openFiles() uint64 {
	var limit syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit), "reading the limit of open files")
	return limit.Max
}
