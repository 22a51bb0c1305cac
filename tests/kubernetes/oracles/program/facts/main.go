// facts prints which settings Kubernetes has: flags, keys of configurations, feature gates. Names and kinds only.
package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"sort"
	"strings"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	scheduler "k8s.io/kube-scheduler/config/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	_ "k8s.io/kubernetes/pkg/features"
)

// words are the kinds of flags' values, by their types' own names.
var words = map[string]string{
	"bool": "bool", "duration": "duration", "quantity": "quantity",
	"int": "int", "int32": "int", "int64": "int", "uint": "int", "Level": "int",
	"float32": "float", "float64": "float",
	"ip": "string", "pattern=N,...": "string", "portRange": "string", "string": "string", "version": "string",
	"int32Slice": "list", "namedCertKey": "list", "stringArray": "list", "stringSlice": "list",
	"colonSeparatedMultimapStringString": "map", "mapStringBool": "map", "mapStringString": "map", "stringToString": "map",
}

func main() {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "k8s.io/kubernetes" {
				version = strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	fmt.Printf("# Settings of Kubernetes %s: flags, keys of configurations, feature gates; names and kinds. Written by tests/kubernetes/oracles/facts.\n", version)
	lines := flags("kube-apiserver", apiserver.NewAPIServerCommand().Flags())
	lines = append(lines, flags("kube-controller-manager", controllers.NewControllerManagerCommand().Flags())...)
	lines = append(lines, keys("kube-scheduler", reflect.TypeOf(scheduler.KubeSchedulerConfiguration{}))...)
	lines = append(lines, keys("kube-proxy", reflect.TypeOf(kubeproxy.KubeProxyConfiguration{}))...)
	lines = append(lines, keys("kubelet", reflect.TypeOf(kubelet.KubeletConfiguration{}))...)
	lines = append(lines, gates()...)
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
}

func fail(form string, values ...any) {
	fmt.Fprintf(os.Stderr, "facts: "+form+"\n", values...)
	os.Exit(1)
}

func flags(program string, set *pflag.FlagSet) (lines []string) {
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "help" || flag.Name == "version" {
			return
		}
		word, ok := words[flag.Value.Type()]
		if !ok {
			fail("no word for the type %s of --%s", flag.Value.Type(), flag.Name)
		}
		line := fmt.Sprintf("flag %s %s %s", program, flag.Name, word)
		if flag.Deprecated != "" || strings.Contains(flag.Usage, "DEPRECATED") {
			line += " deprecated"
		}
		lines = append(lines, line)
	})
	return lines
}

func gates() (lines []string) {
	for name, spec := range utilfeature.DefaultMutableFeatureGate.GetAll() {
		line := fmt.Sprintf("gate %s %v", name, spec.Default)
		if spec.LockToDefault {
			line += " locked"
		}
		lines = append(lines, line)
	}
	return lines
}

func keys(program string, kind reflect.Type) (lines []string) {
	var walk func(path string, kind reflect.Type)
	walk = func(path string, kind reflect.Type) {
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		add := func(word string) { lines = append(lines, fmt.Sprintf("key %s %s %s", program, path, word)) }
		switch kind.String() {
		case "v1.Duration":
			add("duration")
			return
		case "v1.Time", "intstr.IntOrString":
			add("string")
			return
		case "resource.Quantity", "resource.QuantityValue":
			add("quantity")
			return
		case "v1.TimeOrMetaDuration":
			add("any")
			return
		case "runtime.RawExtension":
			add("any")
			return
		}
		switch kind.Kind() {
		case reflect.Bool:
			add("bool")
		case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			add("int")
		case reflect.Float32, reflect.Float64:
			add("float")
		case reflect.String:
			add("string")
		case reflect.Slice:
			walk(path+"[]", kind.Elem())
		case reflect.Map:
			walk(path+"{}", kind.Elem())
		case reflect.Struct:
			for at := range kind.NumField() {
				field := kind.Field(at)
				name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
				if field.Type == reflect.TypeOf(metav1.TypeMeta{}) {
					continue
				}
				if name == "" && strings.Contains(options, "inline") {
					walk(path, field.Type)
					continue
				}
				if name == "" || name == "-" {
					fail("no name for %s of %s", field.Name, kind)
				}
				below := name
				if path != "" {
					below = path + "." + name
				}
				walk(below, field.Type)
			}
		default:
			fail("no rule for %s at %s", kind, path)
		}
	}
	walk("", kind)
	return lines
}
