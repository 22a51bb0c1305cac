// Runs a cluster of kbake's natively: see README.md beside this file.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// fail ends the program with a message.
func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "native: "+format+"\n", arguments...)
	os.Exit(1)
}

// check ends the program when an error says so.
func check(err error, doing string) {
	if err != nil {
		fail("%s: %v", doing, err)
	}
}

const usage = `usage: native run [--kbake PROGRAM] [--work FOLDER] [--images FOLDER] -- COMMAND...
           in a project's folder: makes the cluster's network in namespaces of its own, runs COMMAND there,
           and takes everything away when it ends
       in COMMAND:
       native up                        starts all nodes
       native start NODE...             powers nodes on
       native stop NODE...              stops a node's services, the last started first, and then all else
       native kill NODE...              a power cut: kills everything on the nodes at once
       native down                      kills all nodes
       native wipe NODE...              forgets the disks of nodes that are off
       native exec NODE COMMAND...      runs a command on a node
       native log NODE [UNIT]           prints the node's own log, or a unit's
       native pid NODE                  prints the process id of the node's PID 1
       native nodes                     prints every node, its address, and whether it is on
       native wait NODE...              waits until nodes have booted, and says if a unit has failed
       native count KUBECONFIG FILE     asks the API until it is interrupted, and keeps the account in FILE`

func main() {
	// What this program is called by itself, or in a node in place of another.
	if filepath.Base(os.Args[0]) == "systemctl" {
		systemctl(os.Args[1:])
		return
	}
	if len(os.Args) < 2 {
		fail("%s", usage)
	}
	arguments := os.Args[2:]
	switch os.Args[1] {
	case "run":
		run(arguments)
	case "stage-network":
		stageNetwork(arguments)
	case "stage-node":
		stageNode(arguments)
	case "stage-root":
		stageRoot(arguments)
	case "stage-unit":
		stageUnit()
	case "up":
		start(open().nodes())
	case "start":
		start(open().named(arguments))
	case "kill":
		kill(open().named(arguments))
	case "stop":
		stop(open().named(arguments))
	case "down":
		kill(open().nodes())
	case "wipe":
		wipe(open().named(arguments))
	case "exec":
		execute(open(), arguments)
	case "log":
		printLog(open(), arguments)
	case "pid":
		for _, node := range open().named(arguments) {
			fmt.Println(node.pid())
		}
	case "wait":
		wait(open().named(arguments))
	case "nodes":
		printNodes(open())
	case "count":
		count(arguments)
	default:
		fail("%s", usage)
	}
}
