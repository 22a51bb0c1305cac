package main

import (
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	proxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	schedulerv1 "k8s.io/kube-scheduler/config/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	proxyscheme "k8s.io/kubernetes/pkg/proxy/apis/config/scheme"
	schedulerscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
)

const (
	kubeletFile   = "var/lib/kubelet/config.yaml"
	proxyFile     = "var/lib/kube-proxy/config.yaml"
	schedulerFile = "etc/kubernetes/scheduler.yaml"
)

// settings finds what components are configured to be: with their defaults, as they are at work.
func settings(root string, found facts) {
	scheme, codecs, err := kubeletscheme.NewSchemeAndCodecs()
	check(err)
	kubelet := &kubeletv1beta1.KubeletConfiguration{}
	effective(scheme, codecs.UniversalDecoder(), must(os.ReadFile(filepath.Join(root, kubeletFile))), kubelet)
	configured("kubelet", kubelet, found)

	proxy := &proxyv1alpha1.KubeProxyConfiguration{}
	effective(proxyscheme.Scheme, proxyscheme.Codecs.UniversalDecoder(), must(os.ReadFile(filepath.Join(root, proxyFile))), proxy)
	configured("kube-proxy", proxy, found)

	text, err := os.ReadFile(filepath.Join(root, schedulerFile))
	if os.IsNotExist(err) {
		text, err = []byte("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"), nil
	}
	check(err)
	scheduler := &schedulerv1.KubeSchedulerConfiguration{}
	effective(schedulerscheme.Scheme, schedulerscheme.Codecs.UniversalDecoder(), text, scheduler)
	configured("kube-scheduler", scheduler, found)

	for _, file := range []string{"etc/kubernetes/kubelet.env", "var/lib/kubelet/kubeadm-flags.env"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err == nil {
			kubeletFlags(string(text), found)
		}
	}
}

func effective(scheme *runtime.Scheme, decoder runtime.Decoder, text []byte, into runtime.Object) {
	check(scheme.Convert(must(runtime.Decode(decoder, text)), into, nil))
}

func configured(component string, config any, found facts) {
	flatten("config ", plain(config), func(field, value string) { found.add(component, field, value) })
}

func kubeletFlags(text string, found facts) {
	for line := range strings.Lines(text) {
		_, words, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for word := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(words), `"`)) {
			flag, value, _ := strings.Cut(word, "=")
			found.add("kubelet", flag, value)
		}
	}
}
