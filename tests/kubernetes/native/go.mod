module kbake.internal/tests/native

go 1.26.0

require (
	go.yaml.in/yaml/v3 v3.0.4
	golang.org/x/sys v0.40.0
)
