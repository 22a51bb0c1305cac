package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	core "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"sigs.k8s.io/yaml"
)

// strategies are the API server's own rules for new objects.
var strategies = map[string]rest.RESTCreateStrategy{
	"ClusterRole":         clusterrole.Strategy,
	"ClusterRoleBinding":  clusterrolebinding.Strategy,
	"ConfigMap":           configmap.Strategy,
	"Deployment":          deployment.Strategy,
	"Namespace":           namespace.Strategy,
	"PodDisruptionBudget": poddisruptionbudget.Strategy,
	"Role":                role.Strategy,
	"RoleBinding":         rolebinding.Strategy,
	"Service":             service.Strategy,
	"ServiceAccount":      serviceaccount.Strategy,
	"StorageClass":        storageclass.Strategy,
}

// addons are the manifests of those add-ons that the node applies, with the cluster's values in them.
func addons() (seen int) {
	values := environment("/etc/kubernetes/cluster.env", "/etc/kubernetes/addons.env")
	for _, addon := range strings.Split(values["ADDONS"], ",") {
		for _, pattern := range []string{"*.yaml", "once/*.yaml"} {
			files, _ := filepath.Glob(filepath.Join(root, "/usr/share/kbake/addons", addon, pattern))
			for _, file := range files {
				addonFile(file, values)
				seen++
			}
		}
	}
	return seen
}

func environment(files ...string) map[string]string {
	values := map[string]string{}
	for _, file := range files {
		text, _ := os.ReadFile(root + file)
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				values[key] = value
			}
		}
	}
	return values
}

var keys = regexp.MustCompile(`@[A-Z][A-Z0-9_]*@`)

func addonFile(file string, values map[string]string) {
	text, err := os.ReadFile(file)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	filled := keys.ReplaceAllFunc(text, func(key []byte) []byte {
		value := values[strings.Trim(string(key), "@")]
		if value == "" {
			fault(file, "the cluster has no value for %s", key)
		}
		return []byte(value)
	})
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(filled)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fault(file, "%v", err)
			return
		}
		addonObject(file, document)
	}
}

func addonObject(file string, text []byte) {
	var named struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(text, &named); err != nil {
		fault(file, "%v", err)
		return
	}
	// Kinds of the add-on's own are known to nobody here.
	if group, _, grouped := strings.Cut(named.APIVersion, "/"); grouped && !legacyscheme.Scheme.IsGroupRegistered(group) {
		return
	}
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), text)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	strategy, ok := strategies[named.Kind]
	if !ok {
		fault(file, "no rules are known of %s", named.Kind)
		return
	}
	found, err := meta.Accessor(object)
	if err != nil {
		fault(file, "%v", err)
		return
	}
	rest.FillObjectMetaSystemFields(found)
	if service, ok := object.(*core.Service); ok {
		allocate(service)
	}
	if err := rest.BeforeCreate(strategy, genericapirequest.WithNamespace(context.Background(), found.GetNamespace()), object); err != nil {
		fault(file, "%v", err)
	}
}

// allocate does what the API server does before it validates a service with an address of its own.
func allocate(service *core.Service) {
	policy := core.IPFamilyPolicySingleStack
	service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	service.Spec.IPFamilies, service.Spec.IPFamilyPolicy = []core.IPFamily{core.IPv4Protocol}, &policy
}
