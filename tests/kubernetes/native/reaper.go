package main

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

// A reaper waits for all children of a PID 1: its own, and those that lost their parents.
type reaper struct {
	mutex   sync.Mutex
	waiting map[int]chan syscall.WaitStatus
}

func newReaper() *reaper {
	r := &reaper{waiting: map[int]chan syscall.WaitStatus{}}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD)
	go func() {
		for range signals {
			r.collect()
		}
	}()
	return r
}

func (r *reaper) collect() {
	for {
		r.mutex.Lock()
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		var waiting chan syscall.WaitStatus
		if err == nil && pid > 0 {
			waiting = r.waiting[pid]
			delete(r.waiting, pid)
		}
		r.mutex.Unlock()
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if waiting != nil {
			waiting <- status
		}
	}
}

// launch starts a program, whose end the channel tells. The lock is held, so that an early end finds its channel.
func (r *reaper) launch(path string, arguments []string, attributes *os.ProcAttr) (int, chan syscall.WaitStatus, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	process, err := os.StartProcess(path, arguments, attributes)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan syscall.WaitStatus, 1)
	r.waiting[process.Pid] = ended
	return process.Pid, ended, nil
}

// start starts a program that is looked for in PATH, or ends this one.
func (r *reaper) start(name string, arguments []string, attributes *os.ProcAttr) chan syscall.WaitStatus {
	path, err := exec.LookPath(name)
	check(err, "looking for "+name)
	_, ended, err := r.launch(path, arguments, attributes)
	check(err, "starting "+name)
	return ended
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
