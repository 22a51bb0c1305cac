package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Programs of the host that the harness runs.
var tools = []string{"ip", "dnsmasq", "mount", "nsenter", "qemu-img", "xorriso", "cp"}

// run makes the namespaces in which the cluster lives, and cleans up after them. They end with this process, however it ends.
func run(arguments []string) {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	kbake := flags.String("kbake", "kbake", "the program")
	work := flags.String("work", "", "a folder to use and keep; default: a temporary one")
	images := flags.String("images", "", "a folder for the images' filesystems, which several runs may share; default: in the work folder")
	check(flags.Parse(arguments), "reading the arguments")
	if flags.NArg() == 0 {
		fail("%s", usage)
	}
	if os.Getuid() != 0 {
		fail("root is needed for namespaces, mounts and cgroups")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			fail("%s is missing: run tests/setup.sh", tool)
		}
	}
	c := &cluster{}
	var err error
	c.Kbake, err = exec.LookPath(*kbake)
	check(err, "looking for kbake")
	c.Kbake, err = filepath.Abs(c.Kbake)
	check(err, "looking for kbake")
	c.Project, err = os.Getwd()
	check(err, "looking for the project")
	keep := *work != ""
	if !keep {
		*work, err = os.MkdirTemp("", "kbake-native-")
		check(err, "making a work folder")
	}
	check(os.MkdirAll(*work, 0o700), "making the work folder")
	c.Work, err = filepath.Abs(*work)
	check(err, "making the work folder")
	if *images == "" {
		*images = filepath.Join(c.Work, "images")
	}
	c.Images, err = filepath.Abs(*images)
	check(err, "making the folder of images")
	restore := raise()
	removeStale()
	c.Cgroups = hierarchies()
	c.save()

	child := exec.Command("/proc/self/exe", append([]string{"stage-network", c.Work}, flags.Args()...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	check(child.Start(), "making namespaces")
	go func() {
		for range signals {
			_ = child.Process.Kill()
		}
	}()
	err = child.Wait()
	restore()
	for _, hierarchy := range c.Cgroups {
		removeCgroup(hierarchy.Folder)
	}
	if !keep {
		_ = os.RemoveAll(c.Work)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.ExitCode() < 0 {
			os.Exit(130)
		}
		os.Exit(exit.ExitCode())
	}
	check(err, "running the command")
}

// raise lifts limits of the host's, and gives what puts them back.
func raise() func() {
	old := map[string][]byte{}
	for _, limit := range raised {
		text, err := os.ReadFile(limit.path)
		check(err, "reading a limit of the host's")
		have, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		want, _ := strconv.Atoi(limit.value)
		if have >= want {
			continue
		}
		fmt.Fprintf(os.Stderr, "native: %s is raised from %d to %d until the end: %s\n", limit.path, have, want, limit.why)
		check(os.WriteFile(limit.path, []byte(limit.value), 0), "raising "+limit.path)
		old[limit.path] = text
	}
	return func() {
		for path, text := range old {
			_ = os.WriteFile(path, text, 0)
		}
	}
}

// The name of a run's cgroups says whose they are.
const cgroupPrefix = "kbake-native."

// hierarchies makes this run's cgroups, in those of this process.
func hierarchies() []hierarchy {
	text, err := os.ReadFile("/proc/self/cgroup")
	check(err, "reading /proc/self/cgroup")
	var found []hierarchy
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if (parts[1] == "") == cgroupV1() {
			continue
		}
		mount := "/sys/fs/cgroup"
		if parts[1] != "" {
			mount = filepath.Join(mount, strings.TrimPrefix(parts[1], "name="))
		}
		folder := filepath.Join(mount, parts[2], cgroupPrefix+strconv.Itoa(os.Getpid()))
		makeCgroup(folder)
		found = append(found, hierarchy{Controllers: parts[1], Folder: folder})
	}
	return found
}

// makeCgroup makes a cgroup that processes can be put in.
func makeCgroup(folder string) {
	check(os.MkdirAll(folder, 0o755), "making a cgroup")
	parent := filepath.Dir(folder)
	// A new one of the controller cpuset has no processors (cgroup v1).
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if text, err := os.ReadFile(filepath.Join(parent, file)); err == nil && cgroupV1() {
			check(os.WriteFile(filepath.Join(folder, file), text, 0), "giving a cgroup its processors")
		}
	}
	if controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers")); err == nil {
		for _, controller := range strings.Fields(string(controllers)) {
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
	}
}

// removeCgroup removes a cgroup and those in it, whose processes are gone.
func removeCgroup(folder string) {
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		if entry.IsDir() {
			removeCgroup(filepath.Join(folder, entry.Name()))
		}
	}
	_ = os.Remove(folder)
}

// removeStale removes the cgroups of runs that were killed.
func removeStale() {
	paths, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroupPrefix + "*")
	more, _ := filepath.Glob("/sys/fs/cgroup/*/*/*/" + cgroupPrefix + "*")
	for _, path := range append(paths, more...) {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), cgroupPrefix))
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			removeCgroup(path)
		}
	}
}

// stageNetwork is PID 1 of the cluster's namespaces: it makes the network, runs COMMAND, and ends with it, and all with it.
func stageNetwork(arguments []string) {
	check(os.Setenv(stateVariable, arguments[0]), "setting the environment")
	c := open()
	check(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), "making mounts private")
	check(syscall.Mount("proc", "/proc", "proc", 0, ""), "mounting /proc")
	network := c.network()
	c.save()
	command("ip", "link", "set", "lo", "up")
	command("ip", "link", "add", c.Bridge, "type", "bridge")
	command("ip", "address", "add", c.Address, "dev", c.Bridge)
	command("ip", "link", "set", c.Bridge, "up")
	for _, route := range network.Routes {
		command("ip", "route", "add", route.Address+"/"+route.Prefix, "via", route.Gateway)
	}
	check(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), "letting the host forward")
	config := filepath.Join(c.Work, "dnsmasq.conf")
	check(os.WriteFile(config, c.ask("dnsmasq"), 0o600), "writing dnsmasq's configuration")

	reap := newReaper()
	log, err := os.Create(filepath.Join(c.Work, "dnsmasq.log"))
	check(err, "making a log")
	reap.start("dnsmasq", []string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=" + config, "--dhcp-leasefile=" + filepath.Join(c.Work, "leases"),
		"--pid-file=", "--no-resolv", "--user=root", "--log-facility=-",
	}, &os.ProcAttr{Files: []*os.File{nil, log, log}})
	self, err := os.Executable()
	check(err, "looking for this program")
	check(os.Setenv("PATH", filepath.Dir(self)+":"+os.Getenv("PATH")), "setting the environment")
	status := <-reap.start(arguments[1], arguments[1:], &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	os.Exit(exitCode(status))
}
