module kbake.internal/tests/oracles-etcd

go 1.26.0

require (
	go.etcd.io/etcd/etcdctl/v3 v3.6.8
	go.etcd.io/etcd/etcdutl/v3 v3.6.8
	go.etcd.io/etcd/server/v3 v3.6.8
	kbake.internal/oracles/etcd v0.0.0
)

replace kbake.internal/oracles/etcd => ../etcd-program
