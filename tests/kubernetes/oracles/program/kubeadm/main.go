// kubeadm makes with kubeadm's own packages what kubeadm would make for a cluster, and holds a node of kbake's against it. It prints a
// line for each difference: components, field, kbake's value, kubeadm's value, with tabs between them.
//
//	kubeadm CONFIGURATION ROOT WORK
//
// WORK is an empty folder, which gets kubeadm's files.
package main

import (
	"fmt"
	"maps"
	"os"
	"sort"
	"strings"

	kubeadmapi "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/config"
)

// facts are values by component and field.
type facts map[[2]string]string

func (f facts) add(component, field, value string) {
	f[[2]string{component, field}] = value
}

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: kubeadm CONFIGURATION ROOT WORK"))
	}
	text := must(os.ReadFile(os.Args[1]))
	cfg := must(config.BytesToInitConfiguration(text, true))
	kubeadmapi.SetActiveTimeouts(cfg.Timeouts)
	root, work := os.Args[2], os.Args[3]
	write(cfg, work)
	ours, theirs := facts{}, facts{}
	for _, side := range []struct {
		root  string
		facts facts
	}{{root, ours}, {work, theirs}} {
		pods(side.root, cfg, side.facts)
		settings(side.root, side.facts)
		files(side.root, side.facts)
	}
	for _, line := range differences(ours, theirs) {
		fmt.Println(line)
	}
}

// differences are lines, sorted. Components that differ in the same way share one, and a file that one side lacks has one.
func differences(ours, theirs facts) (lines []string) {
	alike := map[[3]string][]string{}
	differ := func(component, field, our, their string) {
		if our != their {
			key := [3]string{field, our, their}
			alike[key] = append(alike[key], component)
		}
	}
	of := func(side facts, at [2]string) string {
		if value := side[at]; value != "" {
			return value
		}
		return "-"
	}
	both := maps.Clone(ours)
	maps.Copy(both, theirs)
	single := map[string]bool{}
	for at := range both {
		single[at[0]] = !(ours.has(at[0]) && theirs.has(at[0]))
	}
	for component, single := range single {
		if single {
			differ(component, "file", ours.summary(component), theirs.summary(component))
		}
	}
	for at := range both {
		if !single[at[0]] {
			differ(at[0], at[1], of(ours, at), of(theirs, at))
		}
	}
	for key, components := range alike {
		sort.Strings(components)
		lines = append(lines, strings.Join(append([]string{strings.Join(components, ", ")}, key[:]...), "\t"))
	}
	sort.Strings(lines)
	return lines
}

func (f facts) has(component string) bool {
	for at := range f {
		if at[0] == component {
			return true
		}
	}
	return false
}

// summary says the most important of a file.
func (f facts) summary(file string) string {
	words := []string{}
	for _, field := range []string{"CN", "O", "issuer", "used as", "mode"} {
		if value := f[[2]string{file, field}]; value != "" {
			words = append(words, field+" "+value)
		}
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

func must[T any](value T, err error) T {
	if err != nil {
		fail(err)
	}
	return value
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "kubeadm: %v\n", err)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}
