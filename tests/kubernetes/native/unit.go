package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The folders in which systemd looks for units, the first one first.
var unitFolders = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"}

// The PATH of a unit's commands, as systemd gives it.
const unitPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"

// A unit file with its drop-ins: the values of each key of a section, in their order.
type unit struct {
	name   string
	values map[string][]string // by `Section.Key`
	masked bool
	// Of .wants and .requires folders.
	wants, requires []string
}

// loadUnit reads a unit by one of its names; nothing when there is none.
func loadUnit(name string) *unit {
	path := findUnit(name)
	if path == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(path)
	check(err, "reading the unit "+name)
	// Another name for a unit. A link to a file elsewhere keeps the name.
	if filepath.Base(real) != name && findUnit(filepath.Base(real)) != "" && !strings.Contains(filepath.Base(real), "@.") {
		return loadUnit(filepath.Base(real))
	}
	u := &unit{name: name, values: map[string][]string{}}
	if real == "/dev/null" {
		u.masked = true
		return u
	}
	u.read(real)
	for _, path := range dropIns(name) {
		u.read(path)
	}
	u.wants = append(u.words("Unit.Wants"), listed(name+".wants")...)
	u.requires = append(append(u.words("Unit.Requires"), u.words("Unit.BindsTo")...), listed(name+".requires")...)
	return u
}

func findUnit(name string) string {
	for _, folder := range unitFolders {
		if _, err := os.Lstat(filepath.Join(folder, name)); err == nil {
			return filepath.Join(folder, name)
		}
	}
	// An instance of a template.
	if before, after, found := strings.Cut(name, "@"); found && !strings.HasPrefix(after, ".") {
		return findUnit(before + "@" + filepath.Ext(name))
	}
	return ""
}

// dropIns are the files in NAME.d: one of each name, of the first folder that has it, by name.
func dropIns(name string) []string {
	found := map[string]string{}
	for index := len(unitFolders) - 1; index >= 0; index-- {
		for _, folder := range []string{filepath.Ext(name)[1:] + ".d", name + ".d"} {
			paths, _ := filepath.Glob(filepath.Join(unitFolders[index], folder, "*.conf"))
			for _, path := range paths {
				found[filepath.Base(path)] = path
			}
		}
	}
	var names, paths []string
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		paths = append(paths, found[name])
	}
	return paths
}

// listed are the units that a folder of links names.
func listed(folder string) []string {
	var names []string
	for _, parent := range unitFolders {
		entries, _ := os.ReadDir(filepath.Join(parent, folder))
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
	}
	return names
}

// read adds a file of systemd.syntax(7). An empty value forgets what was said before.
func (u *unit) read(path string) {
	text, err := os.ReadFile(path)
	check(err, "reading a unit")
	section, pending := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
			continue
		}
		if before, found := strings.CutSuffix(line, "\\"); found {
			pending += before + " "
			continue
		}
		line, pending = strings.TrimSpace(pending+line), ""
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		} else if key, value, found := strings.Cut(line, "="); found {
			key, value = section+"."+strings.TrimSpace(key), strings.TrimSpace(value)
			if value == "" && strings.HasPrefix(key, "Unit.Condition") {
				// One empty condition takes back those of all kinds.
				maps.DeleteFunc(u.values, func(key string, _ []string) bool { return strings.HasPrefix(key, "Unit.Condition") })
			} else if value == "" {
				delete(u.values, key)
			} else {
				u.values[key] = append(u.values[key], value)
			}
		} else if line != "" {
			fail("%s: a line that is none: %s", path, line)
		}
	}
}

// one is the value of a key that has one: the last word counts.
func (u *unit) one(key, otherwise string) string {
	if values := u.values[key]; len(values) > 0 {
		return values[len(values)-1]
	}
	return otherwise
}

func (u *unit) words(key string) []string {
	var words []string
	for _, value := range u.values[key] {
		words = append(words, strings.Fields(value)...)
	}
	return words
}

func (u *unit) yes(key string, otherwise bool) bool {
	switch strings.ToLower(u.one(key, strconv.FormatBool(otherwise))) {
	case "yes", "true", "on", "1":
		return true
	}
	return false
}

// span reads a time of systemd.time(7); `infinity` is zero, for no limit.
func (u *unit) span(key string, otherwise time.Duration) time.Duration {
	text := u.one(key, "")
	if text == "" {
		return otherwise
	}
	if text == "infinity" || text == "0" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Duration(seconds * float64(time.Second))
	}
	total := time.Duration(0)
	for _, word := range strings.Fields(text) {
		word = strings.NewReplacer("minutes", "m", "minute", "m", "min", "m", "seconds", "s", "second", "s", "sec", "s").Replace(word)
		span, err := time.ParseDuration(word)
		if err != nil {
			fail("%s: %s is no time: %s", u.name, key, text)
		}
		total += span
	}
	return total
}

// specifiers puts in what `%` stands for.
func (u *unit) specifiers(text string) string {
	host, _ := os.Hostname()
	_, instance, _ := strings.Cut(strings.TrimSuffix(u.name, filepath.Ext(u.name)), "@")
	return strings.NewReplacer(
		"%%", "%", "%n", u.name, "%N", strings.TrimSuffix(u.name, filepath.Ext(u.name)), "%i", instance, "%I", instance, "%H", host,
		"%t", "/run", "%S", "/var/lib", "%C", "/var/cache", "%L", "/var/log", "%E", "/etc", "%T", "/tmp", "%h", "/root",
	).Replace(text)
}

// conditions says which condition keeps the unit from starting; nothing when none does.
func (u *unit) conditions() string {
	alternatives, oneHolds := "", false
	for _, kind := range conditionKinds {
		for _, value := range u.values["Unit."+kind.key] {
			rest, either := strings.CutPrefix(value, "|")
			rest, not := strings.CutPrefix(rest, "!")
			holds := kind.holds(u.specifiers(rest)) != not
			line := fmt.Sprintf("%s=%s", kind.key, value)
			switch {
			case either && holds:
				oneHolds = true
			case either:
				alternatives = line
			case !holds:
				return line
			}
		}
	}
	if alternatives != "" && !oneHolds {
		return alternatives
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

var conditionKinds = []struct {
	key   string
	holds func(string) bool
}{
	{"ConditionPathExists", exists},
	{"ConditionPathExistsGlob", func(pattern string) bool {
		found, _ := filepath.Glob(pattern)
		return len(found) > 0
	}},
	{"ConditionPathIsDirectory", func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	}},
	{"ConditionPathIsReadWrite", exists},
	{"ConditionPathIsSymbolicLink", func(path string) bool {
		info, err := os.Lstat(path)
		return err == nil && info.Mode()&os.ModeSymlink != 0
	}},
	{"ConditionDirectoryNotEmpty", func(path string) bool {
		entries, err := os.ReadDir(path)
		return err == nil && len(entries) > 0
	}},
	{"ConditionFileNotEmpty", func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() > 0
	}},
	{"ConditionFileIsExecutable", func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	}},
	{"ConditionKernelCommandLine", func(word string) bool {
		line, _ := os.ReadFile("/proc/cmdline")
		for _, have := range strings.Fields(string(line)) {
			if have == word || strings.HasPrefix(have, word+"=") {
				return true
			}
		}
		return false
	}},
	{"ConditionHost", func(name string) bool { host, _ := os.Hostname(); return host == name }},
	// Whether this is a container is not asked: the units are to run as on a machine.
	{"ConditionVirtualization", func(kind string) bool { return kind == "vm" || kind == "yes" || kind == "kvm" }},
}
