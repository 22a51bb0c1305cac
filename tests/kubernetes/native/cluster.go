package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The environment of COMMAND says where the cluster's state is.
const stateVariable = "KBAKE_NATIVE"

// A cluster, as `native run` found it: kept in WORK/cluster.json for the other verbs.
type cluster struct {
	Name    string
	Work    string // absolute, as all of these
	Images  string
	Project string
	Kbake   string
	Bridge  string
	Address string // the host's, with the prefix
	Nodes   []*node
	// Folders in which the nodes' cgroups are made, by the controllers that they are of; outside of all nodes.
	Cgroups []hierarchy
}

// A hierarchy of cgroups. Version 2 has one, without names.
type hierarchy struct{ Controllers, Folder string }

type node struct {
	Name    string
	MAC     string
	Address string
	Index   int
	cluster *cluster
}

// networkXML is what `kbake net-xml` prints, as far as it is needed here.
type networkXML struct {
	Name   string `xml:"name"`
	Bridge struct {
		Name string `xml:"name,attr"`
	} `xml:"bridge"`
	IP struct {
		Address string `xml:"address,attr"`
		Prefix  string `xml:"prefix,attr"`
		Hosts   []struct {
			MAC  string `xml:"mac,attr"`
			Name string `xml:"name,attr"`
			IP   string `xml:"ip,attr"`
		} `xml:"dhcp>host"`
	} `xml:"ip"`
	Routes []struct {
		Address string `xml:"address,attr"`
		Prefix  string `xml:"prefix,attr"`
		Gateway string `xml:"gateway,attr"`
	} `xml:"route"`
}

// ask runs kbake in the project and gives its standard output.
func (c *cluster) ask(arguments ...string) []byte {
	command := exec.Command(c.Kbake, arguments...)
	command.Dir = c.Project
	command.Stderr = os.Stderr
	output, err := command.Output()
	check(err, "kbake "+strings.Join(arguments, " "))
	return output
}

// network asks kbake for the cluster's network and nodes.
func (c *cluster) network() networkXML {
	var network networkXML
	check(xml.Unmarshal(c.ask("net-xml"), &network), "reading the output of kbake net-xml")
	c.Name = network.Name
	c.Bridge = network.Bridge.Name
	c.Address = network.IP.Address + "/" + network.IP.Prefix
	for index, host := range network.IP.Hosts {
		c.Nodes = append(c.Nodes, &node{Name: host.Name, MAC: host.MAC, Address: host.IP, Index: index})
	}
	return network
}

func (c *cluster) save() {
	text, err := json.MarshalIndent(c, "", "  ")
	check(err, "writing the cluster's state")
	check(os.WriteFile(filepath.Join(c.Work, "cluster.json"), text, 0o600), "writing the cluster's state")
}

// open reads what `native run` has saved.
func open() *cluster {
	work := os.Getenv(stateVariable)
	if work == "" {
		fail("no cluster runs here: `native run -- COMMAND` makes its network, and the other verbs work in COMMAND")
	}
	text, err := os.ReadFile(filepath.Join(work, "cluster.json"))
	check(err, "reading the cluster's state")
	c := &cluster{}
	check(json.Unmarshal(text, c), "reading the cluster's state")
	for _, node := range c.Nodes {
		node.cluster = c
	}
	return c
}

func (c *cluster) nodes() []*node { return c.Nodes }

func (c *cluster) named(names []string) []*node {
	if len(names) == 0 {
		fail("no node is named\n%s", usage)
	}
	var found []*node
	for _, name := range names {
		found = append(found, c.named1(name))
	}
	return found
}

func (c *cluster) named1(name string) *node {
	var names []string
	for _, node := range c.Nodes {
		if node.Name == name {
			return node
		}
		names = append(names, node.Name)
	}
	fail("the cluster has no node %s, only %s", name, strings.Join(names, ", "))
	return nil
}

// folder is a path of the node's in the work folder.
func (n *node) folder(parts ...string) string {
	return filepath.Join(append([]string{n.cluster.Work, "nodes", n.Name}, parts...)...)
}

// disk is the node's disk, which names the image that the node boots.
func (n *node) disk() string {
	return filepath.Join(n.cluster.Project, "images/disks", n.cluster.Name, n.Name+".qcow2")
}

func (n *node) seed() string {
	return filepath.Join(n.cluster.Project, "images/seeds", n.cluster.Name, n.Name+".iso")
}

// pid is the process id of the node's PID 1, or 0 when the node is off.
func (n *node) pid() int {
	text, err := os.ReadFile(n.folder("pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// command runs a program of the host's and ends this one when it fails.
func command(name string, arguments ...string) {
	run := exec.Command(name, arguments...)
	output, err := run.CombinedOutput()
	if err != nil {
		fail("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, output)
	}
}
