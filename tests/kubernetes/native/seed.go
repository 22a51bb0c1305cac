package main

import (
	"encoding/base64"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// A seed: what cloud-init's first stage would apply of it. Users and SSH keys are left out, as nobody logs in here.
type seed struct {
	meta struct {
		InstanceID    string `yaml:"instance-id"`
		LocalHostname string `yaml:"local-hostname"`
	}
	data    userData
	network networkConfig
}

type userData struct {
	Hostname   string      `yaml:"hostname"`
	WriteFiles []writeFile `yaml:"write_files"`
	Bootcmd    []any       `yaml:"bootcmd"`
	CACerts    any         `yaml:"ca_certs"`
}

type writeFile struct {
	Path        string `yaml:"path"`
	Owner       string `yaml:"owner"`
	Permissions string `yaml:"permissions"`
	Content     string `yaml:"content"`
	Encoding    string `yaml:"encoding"`
	Append      bool   `yaml:"append"`
}

type networkConfig struct {
	Ethernets map[string]struct {
		Match struct {
			MAC string `yaml:"macaddress"`
		} `yaml:"match"`
		SetName   string   `yaml:"set-name"`
		MTU       int      `yaml:"mtu"`
		Addresses []string `yaml:"addresses"`
		Routes    []struct {
			To  string `yaml:"to"`
			Via string `yaml:"via"`
		} `yaml:"routes"`
		Nameservers struct {
			Search    []string `yaml:"search"`
			Addresses []string `yaml:"addresses"`
		} `yaml:"nameservers"`
	} `yaml:"ethernets"`
}

func readSeedFiles(folder string) seed {
	var s seed
	read := func(name string, into any) {
		text, err := os.ReadFile(filepath.Join(folder, name))
		check(err, "reading the seed")
		if name == "user-data" && !strings.HasPrefix(string(text), "#cloud-config") {
			fail("the seed's user-data is no single #cloud-config: additions that are scripts are not run here")
		}
		check(yaml.Unmarshal(text, into), "reading the seed's "+name)
	}
	read("meta-data", &s.meta)
	read("user-data", &s.data)
	read("network-config", &s.network)
	return s
}

// apply does what cloud-init does before other services start: files once for each seed, names and network at every boot.
func (s seed) apply(reap *reaper) {
	const stamp = "/var/lib/cloud/data/instance-id"
	check(syscall.Sethostname([]byte(s.data.Hostname)), "setting the host name")
	check(os.WriteFile("/etc/hostname", []byte(s.data.Hostname+"\n"), 0o644), "writing /etc/hostname")
	if len(s.data.Bootcmd) > 0 {
		fail("the seed has a bootcmd (a data disk): that is for machines")
	}
	last, _ := os.ReadFile(stamp)
	if string(last) != s.meta.InstanceID+"\n" {
		for _, file := range s.data.WriteFiles {
			file.write()
		}
		if s.data.CACerts != nil {
			program(reap, "update-ca-certificates")
		}
		check(os.MkdirAll(filepath.Dir(stamp), 0o755), "making a folder")
		check(os.WriteFile(stamp, []byte(s.meta.InstanceID+"\n"), 0o644), "writing the instance's id")
		say("seed %s is applied: %d files", s.meta.InstanceID, len(s.data.WriteFiles))
	}
	s.link(reap)
}

// program waits for a program of the node, which must do well.
func program(reap *reaper, name string, arguments ...string) {
	words := append([]string{name}, arguments...)
	if status := <-reap.start(name, words, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}}); exitCode(status) != 0 {
		fail("%s failed", strings.Join(words, " "))
	}
}

func (f writeFile) write() {
	content := []byte(f.Content)
	if f.Encoding == "b64" || f.Encoding == "base64" {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(f.Content), ""))
		check(err, "reading "+f.Path)
		content = decoded
	} else if f.Encoding != "" && f.Encoding != "text/plain" {
		fail("%s has the encoding %s, which this harness does not know", f.Path, f.Encoding)
	}
	mode := uint64(0o644)
	if f.Permissions != "" {
		var err error
		mode, err = strconv.ParseUint(f.Permissions, 8, 32)
		check(err, "reading the mode of "+f.Path)
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if f.Append {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	check(os.MkdirAll(filepath.Dir(f.Path), 0o755), "making a folder")
	file, err := os.OpenFile(f.Path, flags, os.FileMode(mode))
	check(err, "writing the seed's files")
	_, err = file.Write(content)
	check(err, "writing the seed's files")
	check(file.Close(), "writing the seed's files")
	check(os.Chmod(f.Path, os.FileMode(mode)), "writing the seed's files")
	if f.Owner != "" {
		owner, group, _ := strings.Cut(f.Owner, ":")
		check(os.Chown(f.Path, userID(owner), groupID(group)), "writing the seed's files")
	}
}

func userID(name string) int {
	found, err := user.Lookup(name)
	check(err, "looking for a user")
	id, _ := strconv.Atoi(found.Uid)
	return id
}

func groupID(name string) int {
	found, err := user.LookupGroup(name)
	check(err, "looking for a group")
	id, _ := strconv.Atoi(found.Gid)
	return id
}

// link makes the interface what the seed says of it, as systemd-networkd would, and names the DNS servers, as systemd-resolved.
func (s seed) link(reap *reaper) {
	ip := func(arguments ...string) { program(reap, "ip", arguments...) }
	ip("link", "set", "lo", "up")
	interfaces, err := net.Interfaces()
	check(err, "looking for interfaces")
	resolv := ""
	for _, ethernet := range s.network.Ethernets {
		name := ""
		for _, card := range interfaces {
			if strings.EqualFold(card.HardwareAddr.String(), ethernet.Match.MAC) {
				name = card.Name
			}
		}
		if name == "" {
			fail("no interface has the MAC address %s of the seed", ethernet.Match.MAC)
		}
		if ethernet.SetName != "" && ethernet.SetName != name {
			ip("link", "set", name, "name", ethernet.SetName)
			name = ethernet.SetName
		}
		if ethernet.MTU != 0 {
			ip("link", "set", name, "mtu", strconv.Itoa(ethernet.MTU))
		}
		for _, address := range ethernet.Addresses {
			ip("address", "add", address, "dev", name)
		}
		ip("link", "set", name, "up")
		for _, route := range ethernet.Routes {
			ip("route", "add", route.To, "via", route.Via, "dev", name)
		}
		for _, address := range ethernet.Nameservers.Addresses {
			resolv += "nameserver " + address + "\n"
		}
		if len(ethernet.Nameservers.Search) > 0 {
			resolv += "search " + strings.Join(ethernet.Nameservers.Search, " ") + "\n"
		}
	}
	check(os.MkdirAll("/run/systemd/resolve", 0o755), "making a folder")
	for _, name := range []string{"resolv.conf", "stub-resolv.conf"} {
		check(os.WriteFile("/run/systemd/resolve/"+name, []byte(resolv), 0o644), "writing the DNS servers")
	}
}
