package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A runner is one run of a service.
type runner struct {
	service     *service
	unit        *unit
	manager     *manager
	stops       chan struct{}
	environment map[string]string
	notify      *net.UnixConn
	ready       chan struct{}
	log         *os.File
}

func (r *runner) once() end {
	u := r.unit
	var missing string
	if r.environment, missing = u.environment(); missing != "" {
		return end{why: "there is no " + missing}
	}
	var err error
	r.log, err = os.OpenFile(filepath.Join(harness, "log", u.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err, "opening a log")
	defer r.log.Close()
	r.makeFolders()
	r.bind()
	kind := u.one("Service.Type", "simple")
	if kind == "notify" || kind == "notify-reload" {
		r.listen()
		defer r.notify.Close()
	}
	limit := u.span("Service.TimeoutStartSec", u.span("Service.TimeoutSec", 90*time.Second))
	for _, line := range u.values["Service.ExecCondition"] {
		if e := r.wait(r.spawn(line), limit); e.stopped || e.code != 0 {
			if e.code > 0 && e.code < 255 {
				e.skipped = "ExecCondition=" + line
			}
			return e
		}
	}
	if e := r.each("Service.ExecStartPre", limit); !e.clean {
		return e
	}
	if kind == "oneshot" {
		return r.oneshot()
	}
	return r.long(kind, limit)
}

// each runs commands one after the other; the first that fails ends it.
func (r *runner) each(key string, limit time.Duration) end {
	for _, line := range r.unit.values[key] {
		e := r.wait(r.spawn(line), limit)
		if !e.clean && !(strings.HasPrefix(line, "-") && !e.stopped) {
			return e
		}
	}
	return end{clean: true}
}

func (r *runner) oneshot() end {
	u := r.unit
	e := r.each("Service.ExecStart", u.span("Service.TimeoutStartSec", 0))
	if !e.clean {
		return e
	}
	_ = r.each("Service.ExecStartPost", 0)
	if !u.yes("Service.RemainAfterExit", false) {
		return end{clean: true, why: "done"}
	}
	r.service.settle(active, "done")
	<-r.stops
	_ = r.each("Service.ExecStop", 0)
	return end{stopped: true}
}

func (r *runner) long(kind string, limit time.Duration) end {
	lines := r.unit.values["Service.ExecStart"]
	if len(lines) != 1 {
		return end{why: fmt.Sprintf("%d commands in ExecStart", len(lines))}
	}
	p := r.spawn(lines[0])
	if kind == "forking" {
		if e := r.wait(p, limit); !e.clean {
			return e
		}
		return end{why: "Type=forking is not known to this harness"}
	}
	r.service.mutex.Lock()
	r.service.main = p.pid
	r.service.times++
	r.service.mutex.Unlock()
	if r.ready != nil {
		var late <-chan time.Time
		if limit > 0 {
			late = time.After(limit)
		}
		select {
		case <-r.ready:
		case status := <-p.ended:
			return r.unit.ended(status)
		case <-late:
			r.kill(p)
			return end{why: "it was not ready in time", code: -1}
		case <-r.stops:
			r.kill(p)
			return end{stopped: true}
		}
	}
	_ = r.each("Service.ExecStartPost", limit)
	r.service.settle(active, "")
	select {
	case status := <-p.ended:
		return r.unit.ended(status)
	case <-r.stops:
		_ = r.each("Service.ExecStop", 0)
		r.kill(p)
		return end{stopped: true}
	}
}

// ended reads the status of a service's process.
func (u *unit) ended(status syscall.WaitStatus) end {
	if status.Signaled() {
		signal := status.Signal()
		clean := signal == syscall.SIGHUP || signal == syscall.SIGINT || signal == syscall.SIGTERM || signal == syscall.SIGPIPE
		return end{clean: clean, why: "signal " + signal.String(), code: -1}
	}
	code := status.ExitStatus()
	clean := code == 0
	for _, word := range u.words("Service.SuccessExitStatus") {
		clean = clean || word == strconv.Itoa(code) || word == exitNames[code]
	}
	return end{clean: clean, why: "exit code " + strconv.Itoa(code), code: code}
}

var exitNames = map[int]string{65: "DATAERR", 73: "CANTCREAT", 69: "UNAVAILABLE"}

// A process of a service.
type process struct {
	pid   int
	ended chan syscall.WaitStatus
}

func (r *runner) wait(p process, limit time.Duration) end {
	var late <-chan time.Time
	if limit > 0 {
		late = time.After(limit)
	}
	select {
	case status := <-p.ended:
		return r.unit.ended(status)
	case <-late:
		r.kill(p)
		return end{why: "it took too long", code: -1}
	case <-r.stops:
		r.kill(p)
		return end{stopped: true}
	}
}

// spawn starts a command of the unit.
func (r *runner) spawn(line string) process {
	u := r.unit
	command := u.parseCommand(line, r.environment)
	s := spawn{
		Path: command.path, Arguments: command.arguments, Folder: u.specifiers(u.one("Service.WorkingDirectory", "/")),
		Umask: u.one("Service.UMask", "0022"), Nice: u.one("Service.Nice", ""), OOM: u.one("Service.OOMScoreAdjust", ""),
		Files: u.one("Service.LimitNOFILE", ""),
	}
	if !command.privileged {
		s.User, s.Group, s.Groups = u.one("Service.User", ""), u.one("Service.Group", ""), u.words("Service.SupplementaryGroups")
	}
	for _, folder := range r.manager.cgroups {
		own := filepath.Join(folder, u.name)
		makeCgroup(own)
		s.Cgroups = append(s.Cgroups, own)
	}
	for name, value := range r.environment {
		s.Environment = append(s.Environment, name+"="+value)
	}
	if r.notify != nil {
		s.Environment = append(s.Environment, "NOTIFY_SOCKET="+r.socket())
	}
	text, err := json.Marshal(s)
	check(err, "writing what to run")
	pid, ended, err := r.manager.reap.launch("/proc/self/exe", []string{"native", "stage-unit"}, &os.ProcAttr{
		Env: []string{spawnVariable + "=" + string(text)}, Files: []*os.File{nil, r.log, r.log},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	check(err, "starting a process")
	return process{pid, ended}
}

// makeFolders makes StateDirectory and its like.
func (r *runner) makeFolders() {
	for _, kind := range []struct{ key, folder string }{
		{"State", "/var/lib"}, {"Runtime", "/run"}, {"Cache", "/var/cache"}, {"Logs", "/var/log"}, {"Configuration", "/etc"},
	} {
		for _, name := range r.unit.words("Service." + kind.key + "Directory") {
			path := filepath.Join(kind.folder, name)
			mode, _ := strconv.ParseUint(r.unit.one("Service."+kind.key+"DirectoryMode", "0755"), 8, 32)
			check(os.MkdirAll(path, os.FileMode(mode)), "making "+path)
			check(os.Chmod(path, os.FileMode(mode)), "making "+path)
			if owner := r.unit.one("Service.User", ""); owner != "" && kind.key != "Configuration" {
				check(os.Chown(path, userID(owner), groupID(r.unit.one("Service.Group", owner))), "making "+path)
			}
		}
	}
}

func (r *runner) socket() string { return harness + "/notify/" + r.unit.name }

// listen waits for the word READY=1, as sd_notify(3) says it.
func (r *runner) listen() {
	_ = os.Remove(r.socket())
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: r.socket(), Net: "unixgram"})
	check(err, "listening for a service")
	check(os.Chmod(r.socket(), 0o666), "listening for a service")
	r.notify, r.ready = socket, make(chan struct{})
	go func() {
		buffer, done := make([]byte, 4096), false
		for {
			size, err := socket.Read(buffer)
			if err != nil {
				return
			}
			for line := range strings.Lines(string(buffer[:size])) {
				if strings.TrimSpace(line) == "READY=1" && !done {
					done = true
					close(r.ready)
				}
			}
		}
	}()
}

// kill ends a process, and by KillMode all of its unit.
func (r *runner) kill(p process) {
	r.signal(p, syscall.SIGTERM)
	limit := r.unit.span("Service.TimeoutStopSec", r.unit.span("Service.TimeoutSec", 90*time.Second))
	if limit == 0 {
		limit = time.Hour
	}
	select {
	case <-p.ended:
	case <-time.After(limit):
		r.signal(p, syscall.SIGKILL)
		<-p.ended
	}
}

func (r *runner) signal(p process, signal syscall.Signal) {
	_ = syscall.Kill(p.pid, signal)
	if r.unit.one("Service.KillMode", "control-group") == "control-group" {
		for _, pid := range r.members() {
			_ = syscall.Kill(pid, signal)
		}
	}
}

// members are the processes in the unit's cgroup.
func (r *runner) members() []int {
	if len(r.manager.cgroups) == 0 {
		return nil
	}
	text, _ := os.ReadFile(filepath.Join(r.manager.cgroups[0], r.unit.name, "cgroup.procs"))
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cleanUp leaves no process of the run behind.
func (r *runner) cleanUp() {
	r.service.mutex.Lock()
	r.service.main = 0
	r.service.mutex.Unlock()
	if mode := r.unit.one("Service.KillMode", "control-group"); mode == "control-group" || mode == "mixed" {
		for _, pid := range r.members() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// bind shows a path of the node's at another one too, to all of the node: units have no mounts of their own here.
func (r *runner) bind() {
	for _, line := range append(r.unit.words("Service.BindReadOnlyPaths"), r.unit.words("Service.BindPaths")...) {
		line, optional := strings.CutPrefix(line, "-")
		from, to, both := strings.Cut(line, ":")
		if !both || from == to {
			continue
		}
		info, err := os.Stat(from)
		if err != nil && optional {
			continue
		}
		check(err, "reading what "+r.unit.name+" binds")
		if mounted(to) {
			continue
		}
		check(os.MkdirAll(filepath.Dir(to), 0o755), "making a mount point")
		if info.IsDir() {
			check(os.MkdirAll(to, 0o755), "making a mount point")
			check(syscall.Mount(from, to, "", syscall.MS_BIND, ""), "mounting "+to)
		} else {
			bindFile(from, to)
		}
	}
}

func mounted(path string) bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	check(err, "reading the mounts")
	return strings.Contains(string(text), " "+path+" ")
}
