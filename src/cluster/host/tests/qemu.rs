use std::net::TcpListener;

use proptest::prelude::*;

use super::*;
use crate::cluster::host::shell::option_value;
use crate::common::value::quote;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The disks of a machine without anything to boot, in `folder`.
fn lay_out(folder: &Path, node: &Node) -> MachineFiles {
    let files = files_in(folder.to_str().unwrap(), node);
    for kind in ["disks", "seeds"] {
        std::fs::create_dir_all(folder.join(kind)).unwrap();
    }
    run_ok(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", folder.join("base.qcow2").to_str().unwrap(), "20G"]), b"");
    // kbake's own form: the backing file's path is relative to the disk's folder.
    run_ok(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "../base.qcow2", files.disk.as_str()]), b"");
    std::fs::write(files.seed.as_ref().unwrap().as_str(), vec![0; 64 << 10]).unwrap();
    if let Some(data) = &files.data {
        run_ok(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", data.as_str(), "1G"]), b"");
    }
    files
}

/// Runs the printed text unchanged, queries QEMU's monitor, and ends QEMU. Returns the queries with their answers; none if
/// another process has taken one of the ports.
fn ask(shell: &str, script: &str, questions: &[&str]) -> Option<String> {
    // Ctrl-A C leads from the serial line to the monitor.
    let input = format!("\x01c{}\nquit\n", questions.join("\n"));
    let output = run(Command::new("timeout").args(["120", shell, "-c", script]), input.as_bytes());
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if complaint.contains("Could not set up host forwarding") {
        return None;
    }
    assert!(!complaint.contains("not found"), "QEMU is missing: run tests/setup.sh\n{complaint}");
    assert!(output.status.success(), "{script}\n{said}\n{complaint}");
    Some(said.replace('\r', ""))
}

/// Runs a node with its usual ports, forwarded from free ones of the host. Returns these, and QEMU's answers.
fn ask_node(shell: &str, cluster: &Cluster, node: &Node, files: &MachineFiles) -> (Vec<Forward>, String) {
    let questions = ["info name", "info uuid", "info network", "info usernet", "info block", "info mtree -f"];
    for _ in 0..5 {
        let usual = Forward::from(Forward::FIRST, cluster, node).unwrap();
        let forwards: Vec<Forward> = usual.iter().map(|forward| Forward { host: free_port(), ..*forward }).collect();
        let script = qemu_command(cluster, node, files, Accel::Emulated, &Link::User { forwards: forwards.clone() });
        if let Some(said) = ask(shell, &script, &questions) {
            return (forwards, said);
        }
    }
    panic!("found no free ports in five attempts");
}

#[test]
fn qemu_runs_the_printed_command() {
    let outer = tempfile::tempdir().unwrap();
    for (at, (name, cluster)) in all().into_iter().enumerate() {
        // Slashes in the names would make folders; the other characters are the test.
        let folder = outer.path().join(format!("{at}{}", FOLDERS[at % FOLDERS.len()]));
        let node = &cluster.nodes[0];
        if node.firmware == crate::cluster::model::Firmware::Uefi {
            continue;
        }
        let files = lay_out(&folder, node);
        // Small, for machines that do nothing.
        let node = &Node { memory: crate::common::value::Size(256 << 20), vcpus: 1, ..node.clone() };
        let shell = ["bash", "sh"][at % 2];
        let (forwards, said) = ask_node(shell, &cluster, node, &files);
        assert!(said.contains(&domain_name(&cluster, node)), "{name}: {said}");
        assert!(said.contains(&node.uuid.to_string()), "{name}: {said}");
        assert!(said.contains(&format!("macaddr={}", node.mac)), "{name}: {said}");
        assert!(said.contains(&format!("net={}", cluster.network.cidr.first())), "{name}: {said}");
        for forward in &forwards {
            let line = said.lines().find(|line| line.contains("HOST_FORWARD") && line.contains(&forward.host.to_string()));
            let words: Vec<&str> = line.unwrap_or_else(|| panic!("{name}: {said}")).split_whitespace().collect();
            let expected = ["127.0.0.1".to_owned(), forward.host.to_string(), node.address.to_string(), forward.node.to_string()];
            assert_eq!(words[2..6], expected, "{name}: {said}");
        }
        assert!(said.contains("disk (#block") && said.contains(&format!("{} (qcow2)", files.disk)), "{name}: {said}");
        assert!(said.contains(&format!("{} (raw, read-only)", files.seed.as_ref().unwrap())), "{name}: {said}");
        if let Some(data) = &files.data {
            assert!(said.contains(&format!("{data} (qcow2)")), "{name}: {said}");
        }
        assert!(said.contains("Backing file:") && said.contains("base.qcow2"), "{name}: {said}");
        assert!(said.contains(&format!("{:#018x}", (256u64 << 20) - 1).replace("0x", "")), "{name}: {said}");
    }
}

/// The machines of one cluster hear each other; QEMU needs no rights for it.
#[test]
fn machines_meet_by_multicast() {
    let folder = tempfile::tempdir().unwrap();
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "etcd").unwrap();
    let node = &Node { memory: crate::common::value::Size(256 << 20), ..cluster.nodes[1].clone() };
    let files = lay_out(folder.path(), node);
    let said = ask("bash", &qemu_command(&cluster, node, &files, Accel::Emulated, &Link::Multicast), &["info network"]).unwrap();
    assert!(said.contains("socket: mcast=239.255.75.66:") && said.contains(&node.mac.to_string()), "{said}");
}

#[test]
fn ports_of_the_host_differ_from_node_to_node() {
    for (name, cluster) in all() {
        let mut ports: Vec<u16> = cluster
            .nodes
            .iter()
            .flat_map(|node| Forward::from(Forward::FIRST, &cluster, node).unwrap())
            .map(|forward| forward.host)
            .collect();
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count, "{name}");
    }
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "kubenet").unwrap();
    let usual = |name: &str| {
        Forward::from(Forward::FIRST, &cluster, cluster.node(name).unwrap()).unwrap().iter().map(|f| (f.host, f.node)).collect::<Vec<_>>()
    };
    assert_eq!(usual("gateway"), [(22000, 22), (26000, 6443)]);
    assert_eq!(usual("control1"), [(22002, 22), (24002, 2379), (26002, 6443)]);
    assert_eq!(usual("worker2"), [(22006, 22)]);
}

#[test]
fn an_isolated_cluster_stays_so() {
    for (name, cluster) in all() {
        let node = &cluster.nodes[0];
        let command = |link| qemu_command(&cluster, node, &files_in("/srv", node), Accel::Hvf, &link);
        let isolated = cluster.network.mode == crate::cluster::model::Mode::Isolated;
        assert_eq!(command(user_link(&cluster, node)).contains("restrict=on"), isolated, "{name}");
        assert_eq!(command(Link::Vmnet).contains("vmnet-host,"), isolated, "{name}");
        assert_eq!(command(Link::Vmnet).contains("vmnet-shared,"), !isolated, "{name}");
    }
}

/// The value of an option of `-netdev user`.
fn user_option(cluster: &Cluster, option: &str) -> Ipv4Addr {
    let node = &cluster.nodes[0];
    let text = qemu_command(cluster, node, &files_in("/srv", node), Accel::Kvm, &Link::User { forwards: vec![] });
    let at = text.find(&format!(",{option}=")).unwrap() + option.len() + 2;
    text[at..].split(',').next().unwrap().parse().unwrap()
}

/// The seed names a gateway and name servers. QEMU answers for two addresses: the name server is the seed's, and the other one
/// is the gateway or nobody's.
#[test]
fn the_network_in_qemu_fits_the_seed() {
    for (name, cluster) in all() {
        let (network, host, dns) = (&cluster.network, user_option(&cluster, "host"), user_option(&cluster, "dns"));
        let inner: Vec<Ipv4Addr> = network.dns.iter().copied().filter(|server| network.cidr.contains(*server)).collect();
        match inner.first() {
            Some(server) => assert_eq!(dns, *server, "{name}"),
            None => assert_eq!(host, network.gateway, "{name}"),
        }
        assert!([host, dns].contains(&network.gateway) && host != dns, "{name}: {host} {dns}");
        for address in [host, dns] {
            assert!(
                network.cidr.contains(address) && address != network.cidr.first() && address != network.cidr.last(),
                "{name}: {address}"
            );
            assert!(cluster.nodes.iter().all(|node| node.address != address), "{name}: {address}");
        }
    }
}

/// An Ethernet frame that asks who has `target` (RFC 826).
fn who_has(target: Ipv4Addr, sender: Ipv4Addr) -> Vec<u8> {
    let mac = [0x52, 0x54, 0, 1, 2, 3];
    let mut frame = [&[0xff; 6][..], &mac, &[8, 6], &[0, 1, 8, 0, 6, 4, 0, 1], &mac, &sender.octets(), &[0; 6], &target.octets()].concat();
    frame.resize(60, 0);
    frame
}

/// QEMU itself answers at the addresses that the seed names, and at no third one.
#[test]
fn qemu_answers_for_the_seed_s_gateway_and_name_server() {
    for (name, cluster) in all().into_iter().filter(|(name, _)| ["etcd", "real-domain", "elsewhere", "lan"].contains(&name.as_str())) {
        let node = &cluster.nodes[0];
        let text = qemu_command(&cluster, node, &files_in("/srv", node), Accel::Kvm, &Link::User { forwards: vec![] });
        let netdev = text.split("-netdev ").nth(1).unwrap().split(' ').next().unwrap();
        let ours = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let theirs = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let wire = format!("socket,id=wire,udp={},localaddr={theirs}", ours.local_addr().unwrap());
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-machine", "none", "-display", "none", "-nodefaults", "-no-user-config", "-monitor", "none"]);
        command.args(["-netdev", netdev, "-netdev", &wire]);
        command.args(["-netdev", "hubport,hubid=0,id=a,netdev=net", "-netdev", "hubport,hubid=0,id=b,netdev=wire"]);
        let mut qemu = command.stdin(Stdio::null()).spawn().unwrap_or_else(|e| panic!("QEMU is missing: run tests/setup.sh ({e})"));
        ours.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let answers = |target: Ipv4Addr, tries: u32| {
            for _ in 0..tries {
                ours.send_to(&who_has(target, node.address), theirs).unwrap();
                let mut frame = [0; 2048];
                while let Ok(length) = ours.recv(&mut frame) {
                    // An answer (28 bytes of ARP behind 14 of Ethernet) whose sender is who was asked for.
                    if length >= 42 && frame[12..14] == [8, 6] && frame[20..22] == [0, 2] && frame[28..32] == target.octets() {
                        return true;
                    }
                }
            }
            false
        };
        let network = &cluster.network;
        let inner = network.dns.iter().copied().filter(|server| network.cidr.contains(*server));
        let expected: Vec<Ipv4Addr> = inner.take(1).chain([network.gateway]).collect();
        // The first question may come before QEMU listens.
        let found: Vec<bool> = expected.iter().map(|address| answers(*address, 120)).collect();
        let other = answers(network.cidr.nth(200).unwrap(), 1);
        qemu.kill().unwrap();
        qemu.wait().unwrap();
        assert!(found.iter().all(|found| *found) && !other, "{name}: {expected:?} {found:?} {other}");
    }
}

/// Two clusters on a host: their ports follow from where they begin, and nothing is left out in silence.
#[test]
fn ports_begin_where_they_are_told_to() {
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "kubenet").unwrap();
    let ports =
        |first| Forward::from(first, &cluster, cluster.node("control1").unwrap()).unwrap().iter().map(|f| f.host).collect::<Vec<_>>();
    assert_eq!(ports(22_000), [22_002, 24_002, 26_002]);
    assert_eq!(ports(30_000), [30_002, 32_002, 34_002]);
    assert_eq!(ports(Forward::FIRST_MAX), [Forward::FIRST_MAX + 2, Forward::FIRST_MAX + 2_002, Forward::FIRST_MAX + 4_002]);
    assert!(Forward::from(Forward::FIRST_MAX + 1, &cluster, &cluster.nodes[0]).is_err());
    let groups: String = (0..5).map(|n| format!("[[node]]\nrole = 'etcd'\nname = 'e{n}-'\ncount = 500\n")).collect();
    let large = Cluster::read("x", &format!("name = 'x'\n[network]\ncidr = '10.0.0.0/16'\n{groups}")).unwrap();
    let forwards = |at: usize| Forward::from(Forward::FIRST_MAX, &large, &large.nodes[at]);
    assert_eq!(forwards(1999).unwrap().iter().map(|f| f.host).collect::<Vec<_>>(), [61_535, 63_535]);
    let error = forwards(2000).unwrap_err().to_string();
    assert!(error.contains("no port of this host is left for node `e4-0`") && error.contains("--net bridge"), "{error}");
}

/// The text as pasted: no line is a comment, ends the shell or changes it.
#[test]
fn the_command_can_be_pasted() {
    for (_, cluster) in all() {
        for node in &cluster.nodes {
            let text = qemu_command(&cluster, node, &files_in("/srv", node), Accel::Kvm, &Link::Bridge);
            let (trial, command) = text.split_once("\nfi\n").unwrap();
            assert!(trial.starts_with("kbake_accel=kvm kbake_cpu=max\nif ! timeout "), "{text}");
            for word in ["#", "exec ", "exit", "set -", "return"] {
                assert!(!trial.contains(word), "{word}: {trial}");
            }
            let (last, lines) = command.lines().collect::<Vec<_>>().split_last().map(|(last, lines)| (*last, lines.to_vec())).unwrap();
            assert!(command.starts_with("qemu-system-x86_64 ") && !last.ends_with('\\') && command.ends_with('\n'), "{text}");
            assert!(lines.iter().all(|line| line.ends_with(" \\")), "{text}");
        }
    }
}

/// KVM that opens and then aborts, or is not there, is found out by trying; one that works is used.
#[test]
fn a_host_whose_kvm_does_not_work_emulates_and_says_so() {
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "lab").unwrap();
    let script = qemu_command(&cluster, &cluster.nodes[0], &files_in("/srv", &cluster.nodes[0]), Accel::Kvm, &Link::Multicast);
    for (trial, accel, said) in
        [("exit 0", "kvm -cpu max", false), ("exit 1", "tcg -cpu qemu64", true), ("kill -ABRT $$", "tcg -cpu qemu64", true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu-system-x86_64");
        std::fs::write(&qemu, format!("#!/bin/sh\ncase \"$*\" in *reboot-timeout*) {trial};; esac\necho \"$@\"\n")).unwrap();
        run_ok(Command::new("chmod").arg("755").arg(&qemu), b"");
        for shell in ["bash", "sh"] {
            let script = format!("PATH={}:$PATH\n{script}", folder.path().display());
            let output = run(Command::new(shell).args(["-c", &script]), b"");
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && stdout.contains(&format!("-accel {accel} ")), "{trial}: {stdout}{stderr}");
            assert_eq!(stderr.contains("KVM does not work here"), said, "{trial}: {stderr}");
        }
    }
}

/// Whatever this host's KVM does: QEMU itself comes up.
#[test]
fn the_trial_leads_to_a_machine_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (_, cluster) = shipped().into_iter().find(|(name, _)| name == "etcd").unwrap();
    let node = &Node { memory: crate::common::value::Size(256 << 20), vcpus: 1, ..cluster.nodes[0].clone() };
    let files = lay_out(folder.path(), node);
    let said = ask("sh", &qemu_command(&cluster, node, &files, Accel::Kvm, &Link::Multicast), &["info name"]).unwrap();
    assert!(said.contains(&domain_name(&cluster, node)), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Both shells give back every word.
    #[test]
    fn words_survive_shells(words in prop::collection::vec("\\PC{0,20}|[ '\"$`\\\\!*?~#;&|<>(){}=%\n\t-]{1,12}", 1..60)) {
        let line: String = words.iter().map(|word| format!(" {}", quote(word))).collect();
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        for shell in ["bash", "sh"] {
            let output = run(Command::new(shell).args(["-c", &format!("printf '%s\\0'{line}")]), b"");
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.clone());
        }
    }
}

#[test]
fn plain_words_stay_readable() {
    for (word, quoted) in [
        ("-netdev", "-netdev"),
        ("user,id=net,net=192.168.3.0/24", "user,id=net,net=192.168.3.0/24"),
        ("", "''"),
        ("=ls", "'=ls'"),
        ("~", "'~'"),
        ("it's", r"'it'\''s'"),
        ("a b", "'a b'"),
        ("ü", "'ü'"),
    ] {
        assert_eq!(quote(word), quoted);
    }
    assert_eq!(option_value("/a,b,,c"), "/a,,b,,,,c");
}
