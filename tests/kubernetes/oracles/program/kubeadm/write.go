package main

import (
	"io"
	"os"
	"path/filepath"

	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	kubeadmapi "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/componentconfigs"
	"k8s.io/kubernetes/cmd/kubeadm/app/constants"
	"k8s.io/kubernetes/cmd/kubeadm/app/phases/certs"
	"k8s.io/kubernetes/cmd/kubeadm/app/phases/controlplane"
	"k8s.io/kubernetes/cmd/kubeadm/app/phases/etcd"
	"k8s.io/kubernetes/cmd/kubeadm/app/phases/kubeconfig"
	"k8s.io/kubernetes/cmd/kubeadm/app/phases/kubelet"
	etcdutil "k8s.io/kubernetes/cmd/kubeadm/app/util/etcd"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/staticpod"
)

// write makes kubeadm's files of the first control-plane node below work, at their paths.
func write(cfg *kubeadmapi.InitConfiguration, work string) {
	// Its phases print; the differences alone go to the output.
	stdout := os.Stdout
	os.Stdout = must(os.OpenFile(os.DevNull, os.O_WRONLY, 0))
	defer func() { os.Stdout = stdout }()

	manifests := filepath.Join(work, constants.KubernetesDir, constants.ManifestsSubDirName)
	check(controlplane.CreateInitStaticPodManifestFiles(manifests, "", cfg, false))
	pod := etcd.GetEtcdPodSpec(&cfg.ClusterConfiguration, &cfg.LocalAPIEndpoint, cfg.NodeRegistration.Name, []etcdutil.Member{})
	check(staticpod.WriteStaticPodToDisk(constants.Etcd, manifests, pod))

	writeConfigurations(cfg, work)

	kept := cfg.DeepCopy()
	kept.CertificatesDir = filepath.Join(work, cfg.CertificatesDir)
	check(certs.CreatePKIAssets(kept))
	for _, name := range []string{
		constants.AdminKubeConfigFileName, constants.SuperAdminKubeConfigFileName, constants.KubeletKubeConfigFileName,
		constants.ControllerManagerKubeConfigFileName, constants.SchedulerKubeConfigFileName,
	} {
		check(kubeconfig.CreateKubeConfigFile(name, filepath.Join(work, constants.KubernetesDir), kept))
	}
}

func writeConfigurations(cfg *kubeadmapi.InitConfiguration, work string) {
	settings := cfg.ComponentConfigs[componentconfigs.KubeletGroup]
	typed := settings.Get().(*kubeletconfig.KubeletConfiguration)
	// kubeadm asks the init system of its host whether systemd-resolved runs. On a node of kbake's it does.
	resolver := "/run/systemd/resolve/resolv.conf"
	typed.ResolverConfig = &resolver
	settings.Set(typed)
	folder := filepath.Join(work, constants.KubeletRunDirectory)
	node := &kubeletconfig.KubeletConfiguration{ContainerRuntimeEndpoint: cfg.NodeRegistration.CRISocket}
	check(kubelet.WriteInstanceConfigToDisk(node, folder))
	check(kubelet.WriteConfigToDisk(&cfg.ClusterConfiguration, folder, "", io.Discard))
	check(kubelet.WriteKubeletDynamicEnvFile(&cfg.ClusterConfiguration, &cfg.NodeRegistration, true, folder))

	proxy := must(cfg.ComponentConfigs[componentconfigs.KubeProxyGroup].Marshal())
	check(os.MkdirAll(filepath.Join(work, "var/lib/kube-proxy"), 0o755))
	check(os.WriteFile(filepath.Join(work, proxyFile), proxy, 0o600))
}
