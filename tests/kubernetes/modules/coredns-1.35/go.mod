module kbake.internal/tests/coredns-1.35

go 1.26.0

require github.com/coredns/coredns v1.13.1
