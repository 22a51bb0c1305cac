package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kubeadmapi "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/constants"
	"sigs.k8s.io/yaml"
)

// hostMounts are those that kubeadm makes if its own host has the folder, whatever a node has.
var hostMounts = map[string]bool{
	"/etc/pki/ca-trust": true, "/etc/pki/tls/certs": true, "/etc/ca-certificates": true,
	"/usr/share/ca-certificates": true, "/usr/local/share/ca-certificates": true,
}

// pods finds what static pods say.
func pods(root string, cfg *kubeadmapi.InitConfiguration, found facts) {
	manifests := must(filepath.Glob(filepath.Join(root, constants.KubernetesDir, constants.ManifestsSubDirName, "*.yaml")))
	if len(manifests) != 4 {
		fail(fmt.Errorf("%s has the manifests %v, and should have four", root, manifests))
	}
	for _, file := range manifests {
		var pod v1.Pod
		check(yaml.UnmarshalStrict(must(os.ReadFile(file)), &pod))
		podFacts(pod, cfg, found)
	}
}

func podFacts(pod v1.Pod, cfg *kubeadmapi.InitConfiguration, found facts) {
	name, container := pod.Name, &pod.Spec.Containers[0]
	add := func(field, value string) { found.add(name, field, value) }
	values := strings.NewReplacer("$(HOST_IP)", cfg.LocalAPIEndpoint.AdvertiseAddress, "$(NODE_NAME)", cfg.NodeRegistration.Name)
	add("program", container.Command[0])
	for _, word := range append(container.Command[1:], container.Args...) {
		flag, value, _ := strings.Cut(word, "=")
		add(flag, sortedList(values.Replace(value)))
	}
	for _, mount := range container.VolumeMounts {
		if !hostMounts[mount.MountPath] {
			add("mount "+mount.MountPath, mounted(mount, pod.Spec.Volumes))
		}
	}
	for _, one := range []struct {
		name  string
		probe *v1.Probe
	}{{"startup", container.StartupProbe}, {"liveness", container.LivenessProbe}, {"readiness", container.ReadinessProbe}} {
		if one.probe != nil {
			probe(one.name+" probe", one.probe, container.Ports, add)
		}
	}
	container.Command, container.Args, container.VolumeMounts = nil, nil, nil
	container.StartupProbe, container.LivenessProbe, container.ReadinessProbe = nil, nil, nil
	flatten("", plain(container), add)
	pod.Spec.Containers, pod.Spec.Volumes = nil, nil
	flatten("pod ", plain(pod), add)
}

func mounted(mount v1.VolumeMount, volumes []v1.Volume) string {
	for _, volume := range volumes {
		if volume.Name != mount.Name || volume.HostPath == nil {
			continue
		}
		way := "writable"
		if mount.ReadOnly {
			way = "read-only"
		}
		words := []string{way, string(*volume.HostPath.Type)}
		if volume.HostPath.Path != mount.MountPath {
			words = append(words, volume.HostPath.Path)
		}
		return strings.Join(words, " ")
	}
	return "a volume that is not the host's"
}

// probe names a port by its number, however the probe does.
func probe(name string, probe *v1.Probe, ports []v1.ContainerPort, add func(string, string)) {
	if probe.HTTPGet != nil && probe.HTTPGet.Port.Type == intstr.String {
		for _, port := range ports {
			if port.Name == probe.HTTPGet.Port.StrVal {
				probe.HTTPGet.Port = intstr.FromInt32(port.ContainerPort)
			}
		}
	}
	flatten(name+" ", plain(probe), add)
}

// plain is what a value is in JSON.
func plain(value any) (tree any) {
	check(json.Unmarshal(must(json.Marshal(value)), &tree))
	return tree
}

// flatten adds each leaf with its path. Items of lists are named by their names, where they have them.
func flatten(path string, tree any, add func(string, string)) {
	below := func(name string) string {
		if path == "" || strings.HasSuffix(path, " ") {
			return path + name
		}
		return path + "." + name
	}
	switch tree := tree.(type) {
	case map[string]any:
		for name, value := range tree {
			flatten(below(name), value, add)
		}
	case []any:
		words := []string{}
		for _, item := range tree {
			object, isObject := item.(map[string]any)
			if name, named := object["name"].(string); isObject && named {
				delete(object, "name")
				flatten(path+"["+name+"]", object, add)
			} else {
				words = append(words, string(must(json.Marshal(item))))
			}
		}
		if len(words) > 0 {
			add(path, strings.ReplaceAll(strings.Join(words, ","), `"`, ""))
		}
	case nil:
	default:
		add(path, fmt.Sprint(tree))
	}
}

// sortedList is a list with commas in it in one order.
func sortedList(value string) string {
	items := strings.Split(value, ",")
	sort.Strings(items)
	return strings.Join(items, ",")
}
