package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Folders that an overlay cannot be, as containerd makes overlays in them: they are the node's own, copied from the image once.
var ownFolders = []string{"/var/lib/containerd", "/var/lib/containers"}

// The folder in which PID 1 keeps what is the harness's in a node.
const harness = "/run/kbake-native"

// stageNode is PID 1 of a node before it has a root: it waits until it is in its cgroups and has a card, and takes the cgroups as its
// own view.
func stageNode(arguments []string) {
	buffer := make([]byte, 2)
	_, err := os.Stdin.Read(buffer)
	check(err, "waiting for the host")
	runtime.LockOSThread()
	check(syscall.Unshare(syscall.CLONE_NEWCGROUP), "making a cgroup namespace")
	check(syscall.Exec("/proc/self/exe", append([]string{"native", "stage-root"}, arguments...), os.Environ()), "going on")
}

// stageRoot mounts the node's root, applies its seed, and becomes its PID 1.
func stageRoot(arguments []string) {
	c := open()
	n := c.named1(arguments[0])
	say("power on: %s", n.Name)
	check(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), "making mounts private")
	root := n.folder("root")
	options := "lowerdir=" + arguments[1] + ",upperdir=" + n.folder("disk/upper") + ",workdir=" + n.folder("disk/work")
	check(syscall.Mount("overlay", root, "overlay", 0, options), "mounting the root")
	for _, folder := range ownFolders {
		n.bindOwn(root, folder)
	}
	mountSystem(root)
	check(os.MkdirAll(root+harness+"/log", 0o755), "making a folder")
	check(syscall.Mount(n.folder("log"), root+harness+"/log", "", syscall.MS_BIND, ""), "mounting the logs")
	bindFile("/proc/self/exe", root+harness+"/native")
	bindFile("/proc/self/exe", root+"/usr/bin/systemctl")
	seed := readSeedFiles(n.folder("seed"))

	check(os.Mkdir(root+harness+"/old", 0o700), "making a folder")
	check(syscall.PivotRoot(root, root+harness+"/old"), "changing the root")
	check(os.Chdir("/"), "changing the root")
	check(syscall.Unmount(harness+"/old", syscall.MNT_DETACH), "leaving the host's root")
	// Volumes of pods are mounted both ways, which systemd prepares in the same way.
	check(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""), "sharing mounts")
	check(os.Setenv("PATH", unitPath), "setting the environment")
	machineID()
	reap := newReaper()
	seed.apply(reap)
	sysctls()
	patch()
	manage(reap)
}

func say(format string, arguments ...any) {
	fmt.Printf(time.Now().UTC().Format("15:04:05.000")+" "+format+"\n", arguments...)
}

func (n *node) bindOwn(root, folder string) {
	own := n.folder("disk/own" + strings.ReplaceAll(folder, "/", "-"))
	if _, err := os.Stat(own); err != nil {
		check(os.MkdirAll(own+".new", 0o711), "making a folder of the node's own")
		if _, err := os.Stat(root + folder); err == nil {
			command("cp", "-a", root+folder+"/.", own+".new")
		}
		check(os.Rename(own+".new", own), "making a folder of the node's own")
	}
	check(os.MkdirAll(root+folder, 0o711), "making a mount point")
	check(syscall.Mount(own, root+folder, "", syscall.MS_BIND, ""), "mounting "+folder)
}

func bindFile(from, to string) {
	real, err := filepath.EvalSymlinks(from)
	check(err, "looking for "+from)
	if _, err := os.Lstat(to); err != nil {
		check(os.WriteFile(to, nil, 0o755), "making a mount point")
	}
	check(syscall.Mount(real, to, "", syscall.MS_BIND, ""), "mounting "+to)
}

// mountSystem mounts what the kernel gives a machine, in the root.
func mountSystem(root string) {
	mount := func(kind, path string, flags uintptr, options string) {
		check(os.MkdirAll(root+path, 0o755), "making a mount point")
		check(syscall.Mount(kind, root+path, kind, flags, options), "mounting "+path)
	}
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV
	mount("proc", "/proc", quiet|syscall.MS_NOEXEC, "")
	mount("sysfs", "/sys", quiet|syscall.MS_NOEXEC, "")
	mount("tmpfs", "/dev", syscall.MS_NOSUID, "mode=0755")
	mount("devpts", "/dev/pts", syscall.MS_NOSUID|syscall.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
	mount("tmpfs", "/dev/shm", quiet, "mode=1777")
	mount("mqueue", "/dev/mqueue", quiet|syscall.MS_NOEXEC, "")
	mount("tmpfs", "/run", quiet, "mode=0755")
	mount("tmpfs", "/tmp", quiet, "mode=1777")
	devices(root + "/dev")
	mountCgroups(root, mount)
	shadow1 := root + harness + "/shadow"
	check(os.MkdirAll(shadow1, 0o755), "making a folder")
	for index, file := range shadows {
		if _, err := os.Stat(root + file.path); err != nil {
			continue
		}
		own := fmt.Sprintf("%s/%d", shadow1, index)
		check(os.WriteFile(own, []byte(file.value+"\n"), 0o644), "making a file")
		check(syscall.Mount(own, root+file.path, "", syscall.MS_BIND, ""), "hiding "+file.path)
	}
}

func mountCgroups(root string, mount func(kind, path string, flags uintptr, options string)) {
	const quiet = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	if !cgroupV1() {
		mount("cgroup2", "/sys/fs/cgroup", quiet, "")
		return
	}
	mount("tmpfs", "/sys/fs/cgroup", quiet, "mode=0755")
	text, err := os.ReadFile("/proc/self/cgroup")
	check(err, "reading /proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		controllers := strings.SplitN(line, ":", 3)[1]
		if controllers == "" {
			continue
		}
		options := controllers
		if strings.HasPrefix(controllers, "name=") {
			options = "none," + controllers
		}
		mount("cgroup", "/sys/fs/cgroup/"+strings.TrimPrefix(controllers, "name="), quiet, options)
	}
}

func devices(dev string) {
	for name, number := range map[string]struct{ major, minor uint32 }{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "kmsg": {1, 11}, "tty": {5, 0}, "fuse": {10, 229},
	} {
		path := filepath.Join(dev, name)
		check(unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(number.major, number.minor))), "making "+path)
		check(os.Chmod(path, 0o666), "making "+path)
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		check(os.Symlink(target, filepath.Join(dev, name)), "making "+name)
	}
}

// machineID gives a new disk a name of its own, as systemd does.
func machineID() {
	const path = "/etc/machine-id"
	if text, err := os.ReadFile(path); err == nil && len(strings.TrimSpace(string(text))) == 32 {
		return
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	check(os.WriteFile(path, []byte(hex.EncodeToString(id)+"\n"), 0o444), "writing "+path)
}

// sysctls applies those settings of sysctl.d that are a network namespace's own. The others are the host's.
func sysctls() {
	files := map[string]string{}
	for _, folder := range []string{"/usr/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"} {
		found, _ := filepath.Glob(folder + "/*.conf")
		for _, path := range found {
			files[filepath.Base(path)] = path
		}
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		text, err := os.ReadFile(files[name])
		check(err, "reading "+files[name])
		for line := range strings.Lines(string(text)) {
			sysctl(strings.TrimSpace(line))
		}
	}
}

func sysctl(line string) {
	key, value, found := strings.Cut(line, "=")
	if !found || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
		return
	}
	key, value = strings.TrimPrefix(strings.TrimSpace(key), "-"), strings.TrimSpace(value)
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	if !strings.HasPrefix(key, "net.") || strings.Contains(key, "*") || strings.HasPrefix(line, "-") {
		say("sysctl left alone: %s", line)
	} else if err := os.WriteFile(path, []byte(value), 0); err != nil {
		say("sysctl %s: %v", key, err)
	}
}

// patch makes the edits of the table in host.go. An edited file is a file of the node's disk, edited again at each start.
func patch() {
	for _, edit := range edits {
		text, err := os.ReadFile(edit.path)
		if err != nil || !edit.here() {
			continue
		}
		changed := edit.edit(string(text))
		if changed == string(text) {
			continue
		}
		info, err := os.Stat(edit.path)
		check(err, "reading "+edit.path)
		check(os.WriteFile(edit.path, []byte(changed), info.Mode()), "editing "+edit.path)
		say("edited for this host: %s: %s", edit.path, edit.why)
	}
}
