// judge holds a node's files against Kubernetes' own types, validation and flags. It prints a line for each fault.
//
//	judge ROOT ETCD-FACTS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/clientcmd"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app/util/config"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	core "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	kubeletvalidation "k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	proxyconfig "k8s.io/kubernetes/pkg/proxy/apis/config"
	proxyscheme "k8s.io/kubernetes/pkg/proxy/apis/config/scheme"
	proxyvalidation "k8s.io/kubernetes/pkg/proxy/apis/config/validation"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	schedulerscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	schedulervalidation "k8s.io/kubernetes/pkg/scheduler/apis/config/validation"
	"sigs.k8s.io/yaml"
)

var (
	root   string
	etcd   = map[string]bool{}
	faults int
)

func fault(file, form string, values ...any) {
	fmt.Printf("%s: %s\n", strings.TrimPrefix(file, root), fmt.Sprintf(form, values...))
	faults++
}

func main() {
	root = os.Args[1]
	readEtcd(os.Args[2])
	seen := 0
	for pattern, judge := range map[string]func(string, []byte){
		"/etc/kubernetes/manifests/*.yaml":  pod,
		"/etc/kubernetes/scheduler.yaml":    schedulerFile,
		"/etc/kubernetes/audit-policy.yaml": auditPolicy,
		"/etc/kubernetes/encryption.yaml":   encryption,
		"/etc/kubernetes/*.conf":            kubeconfig,
		"/etc/kubernetes/kubeadm.yaml":      kubeadmFile,
		"/etc/kubernetes/kubelet.env":       kubeletFlags,
		"/var/lib/kubelet/config.yaml":      kubeletFile,
		"/var/lib/kube-proxy/config.yaml":   proxyFile,
		"/etc/etcd/etcd.env":                etcdEnvironment,
	} {
		files, _ := filepath.Glob(root + pattern)
		for _, file := range files {
			if filepath.Base(file) == "components.conf" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				fault(file, "%v", err)
				continue
			}
			judge(file, text)
			fmt.Fprintf(os.Stderr, "judged %s\n", strings.TrimPrefix(file, root))
			seen++
		}
	}
	seen += addons()
	if seen == 0 {
		fault(root, "nothing to judge")
	}
	if faults > 0 {
		os.Exit(1)
	}
}

func readEtcd(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) >= 4 && words[0] == "flag" {
			etcd[words[2]] = len(words) > 4
		}
	}
}

// pod decodes a static pod strictly, as the kubelet does leniently, and gives its arguments to the program's own flags.
func pod(file string, text []byte) {
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), text)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	found, ok := object.(*core.Pod)
	if !ok {
		fault(file, "no pod, but %T", object)
		return
	}
	found.UID = "0"
	found.Spec.NodeName = "node"
	options := podutil.GetValidationOptionsFromPodSpecAndMeta(&found.Spec, nil, &found.ObjectMeta, nil)
	for _, wrong := range corevalidation.ValidatePodCreate(found, options) {
		fault(file, "%v", wrong)
	}
	for _, container := range found.Spec.Containers {
		program := filepath.Base(container.Command[0])
		arguments(file, program, append(container.Command[1:], container.Args...))
	}
}

// arguments gives each to the flag of its name.
func arguments(file, program string, words []string) {
	var set *pflag.FlagSet
	switch program {
	case "kube-apiserver":
		set = apiserver.NewAPIServerCommand().Flags()
	case "kube-controller-manager":
		set = controllers.NewControllerManagerCommand().Flags()
	case "kube-scheduler":
		set = scheduler.NewSchedulerCommand().Flags()
	case "etcd":
		for _, word := range words {
			name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			etcdFlag(file, name)
		}
		return
	default:
		fault(file, "no flags are known of %s", program)
		return
	}
	setFlags(file, program, set, words)
}

func setFlags(file, program string, set *pflag.FlagSet, words []string) {
	for _, word := range words {
		name, value, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		// The downward API puts an address there.
		value = strings.ReplaceAll(value, "$(HOST_IP)", "192.0.2.1")
		flag := set.Lookup(name)
		if flag == nil {
			fault(file, "%s has no flag --%s", program, name)
			continue
		}
		if flag.Deprecated != "" || strings.Contains(flag.Usage, "DEPRECATED") {
			fault(file, "--%s of %s is deprecated: %s", name, program, flag.Deprecated)
		}
		if err := flag.Value.Set(value); err != nil {
			fault(file, "--%s of %s: %v", name, program, err)
		}
	}
}

func etcdFlag(file, name string) {
	if deprecated, ok := etcd[name]; !ok {
		fault(file, "etcd has no flag --%s", name)
	} else if deprecated {
		fault(file, "--%s of etcd is deprecated", name)
	}
}

func etcdEnvironment(file string, text []byte) {
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "ETCD_"); ok {
			name, _, _ = strings.Cut(name, "=")
			etcdFlag(file, strings.ReplaceAll(strings.ToLower(name), "_", "-"))
		}
	}
}

// kubeletFlags reads the arguments that the node's seed gives to the kubelet. Labels and the name exist as flags only.
func kubeletFlags(file string, text []byte) {
	set := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	kubelet.NewKubeletFlags().AddFlags(set)
	for line := range strings.Lines(string(text)) {
		if words, ok := strings.CutPrefix(strings.TrimSpace(line), "KUBELET_NODE_ARGS="); ok {
			setFlags(file, "kubelet", set, strings.Fields(words))
		}
	}
}

// kubeletFile decodes the configuration and its drop-ins, merges them as the kubelet does, and validates what comes of it.
func kubeletFile(file string, text []byte) {
	scheme, codecs, err := kubeletscheme.NewSchemeAndCodecs(serializer.EnableStrict)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	decode := func(file string, text []byte) *kubeletconfig.KubeletConfiguration {
		object, err := runtime.Decode(codecs.UniversalDecoder(), text)
		if err != nil {
			fault(file, "%v", err)
			return nil
		}
		return object.(*kubeletconfig.KubeletConfiguration)
	}
	config := decode(file, text)
	if config == nil {
		return
	}
	versioned := &kubeletv1beta1.KubeletConfiguration{}
	if err := scheme.Convert(config, versioned, nil); err != nil {
		fault(file, "%v", err)
		return
	}
	merged, _ := json.Marshal(versioned)
	dropIns, _ := filepath.Glob(root + "/etc/kubernetes/kubelet.conf.d/*.conf")
	for _, dropIn := range dropIns {
		text, _ := os.ReadFile(dropIn)
		if decode(dropIn, text) == nil {
			return
		}
		patch, err := yaml.YAMLToJSON(text)
		if err == nil {
			merged, err = jsonpatch.MergePatch(merged, patch)
		}
		if err != nil {
			fault(dropIn, "%v", err)
			return
		}
	}
	withKind := map[string]any{}
	_ = json.Unmarshal(merged, &withKind)
	withKind["apiVersion"], withKind["kind"] = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
	merged, _ = json.Marshal(withKind)
	if config = decode(file, merged); config == nil {
		return
	}
	gates := utilfeature.DefaultMutableFeatureGate.DeepCopy()
	if err := gates.SetFromMap(config.FeatureGates); err != nil {
		fault(file, "%v", err)
	}
	// The cgroups of the judge's own host are not the node's.
	config.FailCgroupV1 = false
	if err := kubeletvalidation.ValidateKubeletConfiguration(config, gates); err != nil {
		fault(file, "%v", err)
	}
}

func schedulerFile(file string, text []byte) {
	object, err := runtime.Decode(schedulerscheme.Codecs.UniversalDecoder(), text)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	if err := schedulervalidation.ValidateKubeSchedulerConfiguration(object.(*schedulerconfig.KubeSchedulerConfiguration)); err != nil {
		fault(file, "%v", err)
	}
}

func proxyFile(file string, text []byte) {
	object, err := runtime.Decode(proxyscheme.Codecs.UniversalDecoder(), text)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	for _, wrong := range proxyvalidation.Validate(object.(*proxyconfig.KubeProxyConfiguration)) {
		fault(file, "%v", wrong)
	}
}

func auditPolicy(file string, _ []byte) {
	if _, err := policy.LoadPolicyFromFile(file); err != nil {
		fault(file, "%v", err)
	}
}

func encryption(file string, _ []byte) {
	if _, err := encryptionconfig.LoadEncryptionConfig(context.Background(), file, false, "judge"); err != nil {
		fault(file, "%v", err)
	}
}

func kubeconfig(file string, text []byte) {
	config, err := clientcmd.Load(text)
	if err == nil {
		err = clientcmd.ConfirmUsable(*config, "")
	}
	if err != nil {
		fault(file, "%v", err)
	}
}

// kubeadmFile allows neither experimental nor deprecated versions of the API; up to 1.35 the function has no word for the second.
func kubeadmFile(file string, text []byte) {
	validate := reflect.ValueOf(kubeadm.ValidateConfig)
	given := []reflect.Value{reflect.ValueOf(text), reflect.ValueOf(false), reflect.ValueOf(false)}
	if err := validate.Call(given[:validate.Type().NumIn()])[0]; !err.IsNil() {
		fault(file, "%v", err.Interface())
	}
}
