"""Two nodes, three pods and the world, each in a network namespace; the nodes' CNI plugins are the real ones.

Run in user, mount and network namespaces of its own; this one's network is node A's.
"""

import json
import os
import shutil
import subprocess
import sys

plugins = sys.argv[1]
for tool in ("bridge", "ip", "iptables-save", "nft", "ping"):
    if not shutil.which(tool):
        sys.exit(f"{tool} is missing: run tests/setup.sh")


def run(*words, where=None, may_fail=False, stdin=None, environment=None):
    words = (["ip", "netns", "exec", where] if where else []) + list(words)
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, env=environment, timeout=60)
    if done.returncode and not may_fail:
        sys.exit(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def check(holds, what):
    if not holds:
        sys.exit(f"not so: {what}")


def cni(command, conflist, pod, node=None, ports=()):
    """One command of the CNI protocol, plugin after plugin as a runtime does it. The result of the last."""
    network = json.load(open(conflist))
    result = None
    chain = network["plugins"] if command == "ADD" else network["plugins"][::-1]
    for plugin in chain:
        config = {**plugin, "cniVersion": network["cniVersion"], "name": network["name"]}
        if plugin.get("capabilities", {}).get("portMappings") and ports:
            config["runtimeConfig"] = {"portMappings": ports}
        if result:
            config["prevResult"] = result
        elif command == "DEL" and pod in results:
            config["prevResult"] = results[pod]
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod,
            "CNI_NETNS": f"/run/netns/{pod}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": plugins,
        }
        done = run(f"{plugins}/{plugin['type']}", where=node, stdin=json.dumps(config), environment=environment, may_fail=True)
        if done.returncode:
            sys.exit(f"{command} {plugin['type']} for {pod}: {done.stdout} {done.stderr}")
        if command == "ADD":
            result = json.loads(done.stdout)
    if command == "ADD":
        results[pod] = result
        return result["ips"][0]["address"].split("/")[0]


def ping(pod, address):
    return run("ping", "-c", "1", "-W", "2", address, where=pod, may_fail=True).returncode == 0


def counted(pod):
    """How many packets reached the pod from each of the addresses that it looks out for."""
    rules = json.loads(run("nft", "-j", "list", "table", "ip", "seen", where=pod).stdout)["nftables"]
    rules = [rule["rule"]["expr"] for rule in rules if "rule" in rule]
    return {rule[0]["match"]["right"]: rule[1]["counter"]["packets"] for rule in rules}


results = {}
for folder in ("/run", "/var/lib"):
    run("mount", "-t", "tmpfs", "tmpfs", folder)
for name in ("b", "world", "pod1", "pod2", "pod3"):
    run("ip", "netns", "add", name)
    run("ip", "link", "set", "lo", "up", where=name)
run("ip", "link", "set", "lo", "up")
for peer, mine, theirs in (("b", "192.168.3.14/24", "192.168.3.15/24"), ("world", "203.0.113.1/24", "203.0.113.2/24")):
    run("ip", "link", "add", f"to-{peer}", "type", "veth", "peer", "name", "uplink", "netns", peer)
    run("ip", "address", "add", mine, "dev", f"to-{peer}")
    run("ip", "link", "set", f"to-{peer}", "up")
    run("ip", "address", "add", theirs, "dev", "uplink", where=peer)
    run("ip", "link", "set", "uplink", "up", where=peer)

port = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
one = cni("ADD", "a.conflist", "pod1", ports=port)
two = cni("ADD", "a.conflist", "pod2")
three = cni("ADD", "b.conflist", "pod3", node="b")
check(one.startswith("10.4.") and two.startswith("10.4.") and three.startswith("10.5."), (one, two, three))
# As the seeds' routes: each node's pods are behind that node.
run("ip", "route", "add", "10.5.0.0/16", "via", "192.168.3.15")
run("ip", "route", "add", "10.4.0.0/16", "via", "192.168.3.14", where="b")

check(ping("pod1", two) and ping("pod2", one), "pods of one node reach each other")
links = json.loads(run("bridge", "-d", "-j", "link", "show").stdout)
check(len(links) == 2 and all(link["hairpin"] for link in links), f"a pod's packets come back to itself: {links}")

# Nobody outside knows the way to a pod, and without masquerading there is none.
check(not ping("pod1", "203.0.113.2"), "masquerading is needed")
for _ in ("first boot", "once more"):
    run("nft", "-f", "masquerade.nft")
check(len(run("nft", "list", "table", "ip", "kbake-masquerade").stdout.split("masquerade fully-random")) == 2, "one rule")
check(ping("pod1", "203.0.113.2"), "a pod reaches the world")

seen = "table ip seen { chain input { type filter hook input priority 0; %s; }; }"
rules = "; ".join(f"ip saddr {address} counter" for address in (one, "192.168.3.14"))
run("nft", "-f", "-", where="pod3", stdin=seen % rules)
check(ping("pod1", three), "pods of two nodes reach each other")
check(counted("pod3") == {one: 1, "192.168.3.14": 0}, f"as themselves: {counted('pod3')}")
check(ping("pod3", one), "from there to here")

server = "import socket; s = socket.create_server(('', 80)); print('ready', flush=True); s.accept()[0].sendall(b'hello')"
words = ["ip", "netns", "exec", "pod1", "python3", "-c", server]
with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as serving:
    serving.stdout.readline()
    client = "import socket; print(socket.create_connection(('192.168.3.14', 8080), 5).recv(9).decode())"
    answer = run("python3", "-c", client, where="b").stdout
    check(answer == "hello\n", f"a port of the node leads to its pod: {answer}")

leases = "/var/lib/cni/networks/bridge"
check(one in os.listdir(leases), os.listdir(leases))
check(one in run("iptables-save", "-t", "nat").stdout, "the port's rules")
cni("DEL", "a.conflist", "pod1", ports=port)
cni("DEL", "a.conflist", "pod1", ports=port)
cni("DEL", "a.conflist", "pod2")
check(one not in os.listdir(leases) and two not in os.listdir(leases), os.listdir(leases))
check(one not in run("iptables-save", "-t", "nat").stdout, "the port's rules are gone")
check(json.loads(run("bridge", "-j", "link", "show").stdout) == [], "the pods' interfaces are gone")
check("eth0" not in run("ip", "link", where="pod1").stdout, "also the pods' ends")
print("all is well")
