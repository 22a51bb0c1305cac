package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The unit that a machine starts.
const goal = "multi-user.target"

// A manager is PID 1's part of systemd: it reads the image's units and runs those that are enabled, in their order.
type manager struct {
	reap    *reaper
	mutex   sync.Mutex
	all     map[string]*service
	cgroups []string
	booted  bool
	started []*service // in the order in which they were started
}

// manage starts the node's units and never ends.
func manage(reap *reaper) {
	m := &manager{reap: reap, all: map[string]*service{}, cgroups: unitCgroups()}
	check(os.MkdirAll(harness+"/notify", 0o755), "making a folder")
	check(os.MkdirAll("/run/systemd/system", 0o755), "making a folder")
	go receiveLog()
	go m.serve()
	m.gather(goal)
	m.refuseCycles()
	var jobs sync.WaitGroup
	for _, s := range m.all {
		jobs.Add(1)
		go func() {
			defer jobs.Done()
			for _, before := range m.before(s) {
				<-before.settled
			}
			m.activate(s)
		}()
	}
	jobs.Wait()
	m.mutex.Lock()
	m.booted = true
	m.mutex.Unlock()
	say("booted")
	select {}
}

// gather loads a unit and all that it wants and requires.
func (m *manager) gather(name string) *service {
	if s := m.find(name); s != nil {
		return s
	}
	if why := leftOut(name); why != "" {
		return m.place(name, settledService(&unit{name: name}, "left out: "+why))
	}
	u := loadUnit(name)
	if u == nil {
		return m.place(name, settledService(&unit{name: name}, "not found"))
	}
	if why := leftOut(u.name); why != "" {
		return m.place(name, settledService(&unit{name: u.name}, "left out: "+why))
	}
	if s := m.find(u.name); s != nil {
		return m.place(name, s)
	}
	if u.masked {
		return m.place(name, settledService(&unit{name: u.name, masked: true}, "masked"))
	}
	kind := filepath.Ext(u.name)
	if kind != ".service" && kind != ".target" {
		return m.place(name, settledService(&unit{name: u.name}, "no service"))
	}
	s := m.place(u.name, newService(u))
	m.place(name, s)
	m.addDefaults(u)
	for _, other := range slices.Concat(u.wants, u.requires) {
		m.gather(other)
	}
	return s
}

func (m *manager) find(name string) *service {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.all[name]
}

func (m *manager) place(name string, s *service) *service {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.all[name] = s
	return s
}

// addDefaults adds what DefaultDependencies=yes means.
func (m *manager) addDefaults(u *unit) {
	if !u.yes("Unit.DefaultDependencies", true) {
		return
	}
	if strings.HasSuffix(u.name, ".service") {
		u.requires = append(u.requires, "sysinit.target")
		u.values["Unit.After"] = append(u.values["Unit.After"], "sysinit.target basic.target")
		return
	}
	u.values["Unit.After"] = append(u.values["Unit.After"], slices.Concat(u.wants, u.requires)...)
}

// before are the units that the start of s waits for.
func (m *manager) before(s *service) []*service {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var found []*service
	for _, name := range s.unit.words("Unit.After") {
		if other := m.all[name]; other != nil && other != s {
			found = append(found, other)
		}
	}
	for _, other := range m.all {
		for _, name := range other.unit.words("Unit.Before") {
			if m.all[name] == s && other != s {
				found = append(found, other)
			}
		}
	}
	return found
}

// refuseCycles ends the boot when units wait for each other: systemd would leave one of them out.
func (m *manager) refuseCycles() {
	state := map[*service]int{}
	var visit func(s *service, path []string)
	visit = func(s *service, path []string) {
		path = append(path, s.unit.name)
		if state[s] == 1 {
			fail("an ordering cycle: %s", strings.Join(path, " after "))
		}
		if state[s] == 2 {
			return
		}
		state[s] = 1
		for _, other := range m.before(s) {
			visit(other, path)
		}
		state[s] = 2
	}
	for _, s := range m.all {
		visit(s, nil)
	}
}

// activate starts a unit whose turn it is, and returns when it has started, failed, or been skipped.
func (m *manager) activate(s *service) {
	if s.isSettled() {
		return
	}
	for _, name := range s.unit.requires {
		if other := m.find(name); other != nil && other.hasBroken() {
			s.settle(failed, "its dependency "+name+" has failed")
			return
		}
	}
	if why := s.unit.conditions(); why != "" {
		s.settle(inactive, "skipped: "+why)
		return
	}
	if strings.HasSuffix(s.unit.name, ".target") {
		s.settle(active, "")
		return
	}
	m.mutex.Lock()
	m.started = append(m.started, s)
	m.mutex.Unlock()
	go s.supervise(m)
	<-s.settled
}

// startNow starts a unit by itself, with what it requires and wants.
func (m *manager) startNow(name string) error {
	s := m.gather(name)
	if state := s.current(); state == active || state == activating {
		return nil
	}
	if s.unit.values == nil || s.unit.masked {
		return fmt.Errorf("%s: %s", name, s.said())
	}
	s.unsettle()
	for _, other := range slices.Concat(s.unit.requires, s.unit.wants) {
		if found := m.find(other); found != nil && found != s && found.current() == inactive && !found.skipped() {
			_ = m.startNow(other)
		}
	}
	m.activate(s)
	if s.hasBroken() {
		return fmt.Errorf("%s has failed: %s", name, s.said())
	}
	return nil
}

// stopNow stops a unit, and waits for its end.
func (m *manager) stopNow(name string) error {
	if s := m.find(name); s != nil {
		s.stop()
		return nil
	}
	return fmt.Errorf("unit %s is not loaded", name)
}

// reload reads the unit files again; what runs goes on.
func (m *manager) reload() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for name, s := range m.all {
		if s.unit.values == nil {
			delete(m.all, name)
		} else if fresh := loadUnit(s.unit.name); fresh != nil && !fresh.masked {
			m.addDefaults(fresh)
			s.mutex.Lock()
			s.unit = fresh
			s.mutex.Unlock()
		}
	}
}

// powerOff stops all units, the last ones first, and ends the node.
func (m *manager) powerOff() {
	m.mutex.Lock()
	started := slices.Clone(m.started)
	m.mutex.Unlock()
	slices.Reverse(started)
	for _, s := range started {
		s.stop()
	}
	syscall.Sync()
	say("power off")
	os.Exit(0)
}

// unitCgroups are the folders in which units get cgroups of their own: one in each hierarchy.
func unitCgroups() []string {
	const mount = "/sys/fs/cgroup"
	if !cgroupV1() {
		// A cgroup with controllers below it may have no processes (cgroup v2).
		check(os.MkdirAll(mount+"/init.scope", 0o755), "making a cgroup")
		check(os.WriteFile(mount+"/init.scope/cgroup.procs", []byte("1"), 0), "moving to a cgroup")
		makeCgroup(mount + "/system.slice")
		return []string{mount + "/system.slice"}
	}
	var folders []string
	entries, _ := os.ReadDir(mount)
	for _, entry := range entries {
		folder := filepath.Join(mount, entry.Name(), "system.slice")
		makeCgroup(folder)
		folders = append(folders, folder)
	}
	// The first one tells who belongs to a unit: systemd's own, where there is one.
	slices.SortStableFunc(folders, func(a, b string) int {
		return strings.Compare(fmt.Sprint(!strings.Contains(a, "/systemd/")), fmt.Sprint(!strings.Contains(b, "/systemd/")))
	})
	return folders
}

// receiveLog writes down what programs say to syslog.
func receiveLog() {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	check(err, "listening at /dev/log")
	check(os.Chmod("/dev/log", 0o666), "listening at /dev/log")
	file, err := os.OpenFile(harness+"/log/syslog", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err, "opening the log")
	buffer := make([]byte, 64<<10)
	for {
		size, err := socket.Read(buffer)
		if err != nil {
			return
		}
		fmt.Fprintf(file, "%s %s\n", time.Now().UTC().Format("15:04:05.000"), strings.TrimSpace(string(buffer[:size])))
	}
}
