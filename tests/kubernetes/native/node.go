package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// start powers nodes on: a root over the image of the disk, the seed, a cable to the bridge, and a PID 1.
func start(nodes []*node) {
	// All images first: nodes that are started together are powered on together.
	for _, node := range nodes {
		if node.pid() != 0 {
			fail("node %s is on already", node.Name)
		}
		node.image()
	}
	for _, node := range nodes {
		node.start()
	}
}

func (n *node) start() {
	c := n.cluster
	for _, folder := range []string{"disk/upper", "disk/work", "root", "log", "seed"} {
		check(os.MkdirAll(n.folder(folder), 0o755), "making the node's folders")
	}
	lower := n.image()
	n.readSeed()
	for _, hierarchy := range c.Cgroups {
		folder := filepath.Join(hierarchy.Folder, n.Name)
		removeCgroup(folder)
		makeCgroup(folder)
	}
	console, err := os.OpenFile(n.folder("log", "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err, "opening the node's log")
	ready, tell, err := os.Pipe()
	check(err, "making a pipe")
	child := exec.Command("/proc/self/exe", "stage-node", n.Name, lower)
	child.Stdout, child.Stderr = console, console
	child.Stdin = ready
	child.Env = []string{stateVariable + "=" + c.Work, "PATH=" + os.Getenv("PATH")}
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	check(child.Start(), "making the node's namespaces")
	pid := strconv.Itoa(child.Process.Pid)
	for _, hierarchy := range c.Cgroups {
		check(os.WriteFile(filepath.Join(hierarchy.Folder, n.Name, "cgroup.procs"), []byte(pid), 0), "putting the node into its cgroup")
	}
	// What libvirt would plug in: a card with the node's MAC address.
	port := "port" + strconv.Itoa(n.Index)
	_ = exec.Command("ip", "link", "delete", port).Run()
	command("ip", "link", "add", port, "type", "veth", "peer", "name", "card", "netns", pid, "address", n.MAC)
	command("ip", "link", "set", port, "master", c.Bridge, "up")
	check(os.WriteFile(n.folder("pid"), []byte(pid), 0o644), "writing the node's process id")
	_, err = tell.Write([]byte("go"))
	check(err, "letting the node go on")
	check(child.Process.Release(), "letting the node go on")
}

// image is a folder with the root filesystem of the image under the node's disk, read-only, shared by all nodes of that image.
func (n *node) image() string {
	var info struct {
		Backing string `json:"full-backing-filename"`
	}
	output, err := exec.Command("qemu-img", "info", "--force-share", "--output=json", n.disk()).Output()
	check(err, "reading the node's disk "+n.disk()+" (`kbake disk "+n.Name+"` makes it)")
	check(json.Unmarshal(output, &info), "reading the node's disk")
	if info.Backing == "" {
		fail("%s lies on no image", n.disk())
	}
	name := strings.TrimSuffix(filepath.Base(info.Backing), ".qcow2")
	folder := filepath.Join(n.cluster.Images, name)
	if entries, err := os.ReadDir(folder); err == nil && len(entries) > 0 {
		return folder
	}
	check(os.MkdirAll(folder, 0o755), "making the image's folder")
	raw := folder + ".raw"
	if _, err := os.Stat(raw); err != nil {
		fresh := raw + "." + strconv.Itoa(os.Getpid())
		command("qemu-img", "convert", "-O", "raw", info.Backing, fresh)
		check(os.Rename(fresh, raw), "keeping the image")
	}
	command("mount", "-o", "loop,ro,offset="+strconv.FormatInt(rootOffset(raw), 10), raw, folder)
	return folder
}

// rootOffset is where the partition `root` of a GPT begins.
func rootOffset(path string) int64 {
	file, err := os.Open(path)
	check(err, "reading the image")
	defer file.Close()
	table := make([]byte, 128*128)
	_, err = file.ReadAt(table, 2*512)
	check(err, "reading the image's partitions")
	for entry := range slices.Chunk(table, 128) {
		var name []byte
		for at := 56; at < 128 && entry[at] != 0; at += 2 {
			name = append(name, entry[at])
		}
		if string(name) == "root" {
			var sector int64
			for at := 39; at >= 32; at-- {
				sector = sector<<8 | int64(entry[at])
			}
			return sector * 512
		}
	}
	fail("%s has no partition `root`", path)
	return 0
}

// readSeed copies the documents of the node's seed volume to where PID 1 finds them.
func (n *node) readSeed() {
	folder := n.folder("seed")
	check(os.RemoveAll(folder), "removing the seed of the last start")
	command("xorriso", "-osirrox", "on", "-indev", n.seed(), "-extract", "/", folder)
	check(os.Chmod(folder, 0o700), "keeping the seed private")
}

// kill ends everything on nodes at once.
func kill(nodes []*node) {
	for _, node := range nodes {
		pid := node.pid()
		if pid == 0 {
			continue
		}
		check(syscall.Kill(pid, syscall.SIGKILL), "killing node "+node.Name)
		for node.pid() != 0 {
			time.Sleep(10 * time.Millisecond)
		}
		unplug(node)
	}
}

// unplug forgets a node whose processes are gone.
func unplug(node *node) {
	check(os.Remove(node.folder("pid")), "forgetting the node's process id")
	_ = exec.Command("ip", "link", "delete", "port"+strconv.Itoa(node.Index)).Run()
}

// stop lets nodes stop their services first.
func stop(nodes []*node) {
	for _, node := range nodes {
		command("/proc/self/exe", "exec", node.Name, "systemctl", "poweroff")
		for node.pid() != 0 {
			time.Sleep(50 * time.Millisecond)
		}
		unplug(node)
	}
}

// wait waits until PID 1 of each node has started what is enabled.
func wait(nodes []*node) {
	for _, node := range nodes {
		for {
			output, _ := exec.Command("/proc/self/exe", "exec", node.Name, "systemctl", "is-system-running").Output()
			state := strings.TrimSpace(string(output))
			if state == "running" {
				break
			}
			if state == "degraded" {
				failing, _ := exec.Command("/proc/self/exe", "exec", node.Name, "systemctl", "--failed").Output()
				fail("units of node %s have failed:\n%s", node.Name, failing)
			}
			if node.pid() == 0 {
				fail("node %s is off: `native log %s`", node.Name, node.Name)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

func wipe(nodes []*node) {
	for _, node := range nodes {
		if node.pid() != 0 {
			fail("node %s is on: `native kill %s` first", node.Name, node.Name)
		}
		check(os.RemoveAll(node.folder("disk")), "wiping the node's disk")
	}
}

// execute runs a command in all namespaces of a node, in place of this program.
func execute(c *cluster, arguments []string) {
	if len(arguments) < 2 {
		fail("%s", usage)
	}
	node := c.named1(arguments[0])
	pid := node.pid()
	if pid == 0 {
		fail("node %s is off", node.Name)
	}
	path, err := exec.LookPath("nsenter")
	check(err, "looking for nsenter")
	enter := []string{"nsenter", "--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"}
	environment := []string{"PATH=" + unitPath, "HOME=/root", "LC_ALL=C.UTF-8", "TERM=" + os.Getenv("TERM")}
	check(syscall.Exec(path, append(append(enter, "--"), arguments[1:]...), environment), "running nsenter")
}

func printLog(c *cluster, arguments []string) {
	name := "console"
	if len(arguments) == 2 {
		name = arguments[1]
		if !strings.Contains(name, ".") {
			name += ".service"
		}
	} else if len(arguments) != 1 {
		fail("%s", usage)
	}
	text, err := os.ReadFile(c.named1(arguments[0]).folder("log", name))
	check(err, "reading the log")
	os.Stdout.Write(text)
}

func printNodes(c *cluster) {
	for _, node := range c.Nodes {
		state := "off"
		if node.pid() != 0 {
			state = "on"
		}
		fmt.Printf("%-20s %-15s %s\n", node.Name, node.Address, state)
	}
}
