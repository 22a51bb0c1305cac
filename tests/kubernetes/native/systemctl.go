package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// The socket at which PID 1 takes what `systemctl` asks.
const control = harness + "/control"

type answer struct {
	Code int
	Text string
}

// systemctl is what a node has in place of the program of this name: kubeadm and people use it.
func systemctl(arguments []string) {
	connection, err := net.Dial("unix", control)
	check(err, "asking PID 1")
	check(json.NewEncoder(connection).Encode(arguments), "asking PID 1")
	var got answer
	check(json.NewDecoder(connection).Decode(&got), "hearing from PID 1")
	fmt.Print(got.Text)
	os.Exit(got.Code)
}

func (m *manager) serve() {
	listener, err := net.Listen("unix", control)
	check(err, "listening for systemctl")
	for {
		connection, err := listener.Accept()
		check(err, "listening for systemctl")
		go func() {
			defer connection.Close()
			var arguments []string
			if json.NewDecoder(connection).Decode(&arguments) != nil {
				return
			}
			_ = json.NewEncoder(connection).Encode(m.answer(arguments))
		}()
	}
}

func (m *manager) answer(arguments []string) answer {
	var options, words []string
	for _, argument := range arguments {
		if strings.HasPrefix(argument, "-") {
			options = append(options, argument)
		} else {
			words = append(words, argument)
		}
	}
	if len(words) == 0 {
		words = []string{"list-units"}
	}
	verb, names := words[0], words[1:]
	for index, name := range names {
		if !strings.Contains(name, ".") {
			names[index] = name + ".service"
		}
	}
	switch verb {
	case "daemon-reload":
		m.reload()
		return answer{}
	case "start", "stop", "restart", "reload-or-restart", "try-restart":
		return m.change(verb, names)
	case "is-active", "is-failed":
		return m.is(verb, names)
	case "is-enabled":
		return isEnabled(names)
	case "status", "list-units", "show":
		text := strings.Join(options, " ")
		return m.list(names, strings.Contains(text, "failed"), strings.Contains(text, "all"))
	case "is-system-running":
		return m.running()
	case "poweroff":
		go m.powerOff()
		return answer{}
	}
	return answer{1, "systemctl: this harness does not know the verb " + verb + "\n"}
}

func (m *manager) change(verb string, names []string) answer {
	for _, name := range names {
		var err error
		if verb != "start" {
			err = m.stopNow(name)
		}
		if verb != "stop" {
			err = m.startNow(name)
		}
		if err != nil {
			return answer{1, err.Error() + "\n"}
		}
	}
	return answer{}
}

func (m *manager) is(verb string, names []string) answer {
	text, code := "", 3
	for _, name := range names {
		state := inactive
		if s := m.find(name); s != nil {
			state = s.current()
		}
		text += state + "\n"
		if state == strings.TrimPrefix(verb, "is-") {
			code = 0
		}
	}
	return answer{code, text}
}

func isEnabled(names []string) answer {
	for _, name := range names {
		links, _ := filepath.Glob("/etc/systemd/system/*.wants/" + name)
		if len(links) == 0 {
			return answer{1, "disabled\n"}
		}
	}
	return answer{0, "enabled\n"}
}

// list prints the units that run or were skipped; with `all` those too that are not for this harness.
func (m *manager) list(names []string, onlyFailed, all bool) answer {
	m.mutex.Lock()
	found := map[string]*service{}
	for _, s := range m.all {
		found[s.unit.name] = s
	}
	m.mutex.Unlock()
	var lines []string
	for name, s := range found {
		s.mutex.Lock()
		line := fmt.Sprintf("%-36s %-10s main=%d starts=%d %s\n", name, s.state, s.main, s.times, s.why)
		wanted := len(names) == 0 && (all || s.unit.values != nil) && (!onlyFailed || s.state == failed)
		s.mutex.Unlock()
		for _, other := range names {
			wanted = wanted || other == name
		}
		if wanted {
			lines = append(lines, line)
		}
	}
	sort.Strings(lines)
	return answer{0, strings.Join(lines, "")}
}

func (m *manager) running() answer {
	m.mutex.Lock()
	booted := m.booted
	m.mutex.Unlock()
	if !booted {
		return answer{1, "starting\n"}
	}
	if m.list(nil, true, false).Text != "" {
		return answer{1, "degraded\n"}
	}
	return answer{0, "running\n"}
}
