module kbake.internal/oracles

go 1.26.0

require (
	github.com/spf13/pflag v1.0.9
	k8s.io/kubernetes v1.35.4
	k8s.io/apimachinery v0.0.0
	k8s.io/apiserver v0.0.0
	k8s.io/kube-proxy v0.0.0
	k8s.io/kube-scheduler v0.0.0
	k8s.io/kubelet v0.0.0
)
