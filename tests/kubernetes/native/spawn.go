package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The settings of a unit's process before it becomes its program: handed over in the environment.
const spawnVariable = "KBAKE_NATIVE_UNIT"

type spawn struct {
	Path        string
	Arguments   []string
	Environment []string
	User        string
	Group       string
	Groups      []string
	Folder      string
	Umask       string
	Nice        string
	OOM         string
	Files       string
	Cgroups     []string
}

// stageUnit applies it and runs the program. Exit codes are systemd's (systemd.exec(5)).
func stageUnit() {
	var s spawn
	check(json.Unmarshal([]byte(os.Getenv(spawnVariable)), &s), "reading what to run")
	for _, folder := range s.Cgroups {
		_ = os.WriteFile(folder+"/cgroup.procs", []byte("0"), 0)
	}
	if s.OOM != "" {
		// The host may not allow it.
		_ = os.WriteFile("/proc/self/oom_score_adj", []byte(s.OOM), 0)
	}
	if nice, err := strconv.Atoi(s.Nice); err == nil {
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice)
	}
	s.limit()
	if mask, err := strconv.ParseUint(s.Umask, 8, 32); err == nil {
		syscall.Umask(int(mask))
	}
	s.become()
	if s.Folder != "" {
		optional := strings.HasPrefix(s.Folder, "-")
		if os.Chdir(strings.TrimPrefix(s.Folder, "-")) != nil && !optional {
			os.Exit(200)
		}
	}
	_ = syscall.Exec(s.Path, s.Arguments, s.Environment)
	os.Exit(203)
}

// limit sets the number of open files, as far as the host allows.
func (s *spawn) limit() {
	var limit syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit), "reading the limit of open files")
	soft := uint64(1024)
	if s.Files != "" {
		text, _, _ := strings.Cut(s.Files, ":")
		if wanted, err := strconv.ParseUint(text, 10, 64); err == nil {
			soft = wanted
		} else {
			soft = limit.Max
		}
	}
	limit.Cur = min(soft, limit.Max)
	check(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit), "setting the limit of open files")
}

func (s *spawn) become() {
	if s.User == "" && s.Group == "" {
		return
	}
	group := -1
	if s.Group != "" {
		group = groupID(s.Group)
	}
	groups := []int{}
	for _, name := range s.Groups {
		groups = append(groups, groupID(name))
	}
	if group >= 0 {
		check(syscall.Setgroups(append(groups, group)), "setting groups")
		check(syscall.Setgid(group), "setting the group")
	}
	if s.User != "" {
		check(syscall.Setuid(userID(s.User)), "setting the user")
	}
}
