module kbake.internal/tests/containerd-1.35

go 1.26.3

require github.com/containerd/containerd/v2 v2.2.4
