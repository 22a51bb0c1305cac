module kbake.internal/tests/metallb

go 1.26.0

require go.universe.tf/metallb v0.16.1
