module kbake.internal/tests/runc-1.35

go 1.26.0

require github.com/opencontainers/runc v1.3.5
