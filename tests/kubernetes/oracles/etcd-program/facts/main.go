// facts prints the flags of etcd: names and kinds only.
package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/embed"
)

// words are the kinds of flags' values, by their types' own names.
var words = map[string]string{
	"int": "int", "int64": "int", "uint": "int", "uint64": "int", "uint32Value": "int",
	"float64": "float", "time.Duration": "duration", "string": "string",
	"StringsValue": "list", "UniqueStringsValue": "list", "UniqueURLs": "list", "featureGate": "map",
}

// kind is the word for a flag's value, as the other programs' flags have it.
func kind(value flag.Value) string {
	if boolean, ok := value.(interface{ IsBoolFlag() bool }); ok && boolean.IsBoolFlag() {
		return "bool"
	}
	name := reflect.TypeOf(value).Elem().Name()
	if getter, ok := value.(flag.Getter); ok && words[name] == "" {
		name = fmt.Sprintf("%T", getter.Get())
	}
	if words[name] == "" {
		fmt.Fprintf(os.Stderr, "facts: no word for the type %T\n", value)
		os.Exit(1)
	}
	return words[name]
}

func main() {
	fmt.Printf("# Settings of etcd %s: flags; names and kinds. Written by tests/kubernetes/oracles/facts.\n", version.Version)
	set := flag.NewFlagSet("etcd", flag.ContinueOnError)
	embed.NewConfig().AddFlags(set)
	// Beside those of a member: of the program.
	lines := []string{"flag etcd config-file string", "flag etcd initial-cluster-state string"}
	set.VisitAll(func(flag *flag.Flag) {
		line := fmt.Sprintf("flag etcd %s %s", flag.Name, kind(flag.Value))
		if strings.Contains(strings.ToLower(flag.Usage), "deprecated") {
			line += " deprecated"
		}
		lines = append(lines, line)
	})
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
}
