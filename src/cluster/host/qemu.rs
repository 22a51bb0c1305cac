//! One node as a plain QEMU command ([invocation](https://www.qemu.org/docs/master/system/invocation.html)), for hosts
//! without libvirt: macOS, containers, CI.
//!
//! The text can be run as a script and be pasted into a shell, bash or zsh. So it has no comments (an interactive zsh runs them
//! as commands), no `exec` and no `set -e` (they would end or change the shell that it is pasted into).

use std::net::Ipv4Addr;

use super::shell::option_value;
use super::user_net::{self, Forward};
use super::{Accel, EMULATED_CPU, MachineFiles, domain_name};
use crate::cluster::model::{Cluster, Firmware, Mode, Node};
use crate::cluster::node::data_disk::DATA_SERIAL;
use crate::common::value::{Arch, quote};

/// The machine's connection to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// The cluster's bridge on a Linux host, through QEMU's bridge helper: the network that libvirt or another tool created.
    Bridge,
    /// A network of the machine's own inside QEMU: it needs no privileges and has no other node. Its address is the node's, so
    /// that its seed fits.
    User {
        /// Its ports that can be reached from the host.
        forwards: Vec<Forward>,
    },
    /// macOS's shared network (root). It has a DHCP server of its own, which nodes with a seed do not use.
    Vmnet,
    /// A network between the machines of one host, by multicast on the loopback interface: it needs no privileges, and reaches
    /// neither the host nor the outside.
    Multicast,
}

/// The multicast group of a cluster's machines, from the block for use within a site (RFC 2365 section 6.2).
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 75, 66);

/// The command that runs the node in this terminal (Ctrl-A X ends it, Ctrl-A C is QEMU's monitor). Its disk must exist.
///
/// For KVM it begins with a trial, see [`trial`].
pub(crate) fn qemu_command(cluster: &Cluster, node: &Node, files: &MachineFiles, accel: Accel, link: &Link) -> String {
    let program = match cluster.arch {
        Arch::Amd64 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
    };
    let head = if accel == Accel::Kvm { trial(program) } else { String::new() };
    let mut lines = vec![program.to_owned()];
    let groups = [machine(cluster, node, accel), disks(files), network(cluster, node, link), surroundings()];
    for option in groups.into_iter().flatten() {
        let words: Vec<String> =
            option.iter().map(|word| if TRIED.contains(&word.as_str()) { word.clone() } else { quote(word) }).collect();
        lines.push(words.join(" "));
    }
    head + &lines.join(" \\\n  ") + "\n"
}

/// Accelerator and CPU model, as set by the lines of [`trial`].
const TRIED: [&str; 2] = ["$kbake_accel", "$kbake_cpu"];

/// Lines that set `kbake_accel` and `kbake_cpu` to values that work here. An open /dev/kvm proves little: in nested machines
/// QEMU may abort with it, or hang. So a machine without a disk is started, whose firmware gives up at once.
fn trial(program: &str) -> String {
    let options = "-machine q35 -accel kvm -cpu max -m 64M -no-user-config -nodefaults -display none -boot reboot-timeout=0 -no-reboot";
    format!(
        "kbake_accel=kvm kbake_cpu=max\n\
         if ! timeout 20 {program} {options} </dev/null >/dev/null 2>&1; then\n  \
         kbake_accel=tcg kbake_cpu={EMULATED_CPU}\n  \
         echo 'KVM does not work here: QEMU emulates the machine, which takes minutes to start' >&2\n\
         fi\n"
    )
}

/// An option with its values, as words.
type Words = Vec<String>;

fn option(name: &str, value: impl ToString) -> Words {
    vec![name.to_owned(), value.to_string()]
}

fn machine(cluster: &Cluster, node: &Node, accel: Accel) -> Vec<Words> {
    // With a second `-accel` QEMU falls back when the first fails. `max` is every feature of whichever accelerator it got.
    let (accels, cpu): (&[&str], _) = match accel {
        Accel::Kvm => (&[TRIED[0]], TRIED[1]),
        Accel::Hvf => (&["hvf", "tcg"], "max"),
        Accel::Emulated => (&["tcg"], EMULATED_CPU),
    };
    let mut options = vec![option("-name", domain_name(cluster, node)), option("-uuid", node.uuid), option("-machine", "q35")];
    options.extend(accels.iter().map(|accel| option("-accel", accel)));
    options.push(option("-cpu", cpu));
    options.push(option("-smp", node.vcpus));
    options.push(option("-m", format!("{}M", node.memory.0.div_ceil(1 << 20))));
    match node.firmware {
        Firmware::Bios => {}
        // QEMU finds this name in its own folder, where Debian's package `ovmf` puts it.
        Firmware::Uefi => options.push(option("-bios", "OVMF.fd")),
    }
    options
}

fn disks(files: &MachineFiles) -> Vec<Words> {
    let drive = |id: &str, more: &str, path: &str| option("-drive", format!("if=none,id={id},{more},file={}", option_value(path)));
    let mut options =
        vec![drive("disk", "format=qcow2,discard=unmap", files.disk.as_str()), option("-device", "virtio-blk-pci,drive=disk,bootindex=1")];
    if let Some(seed) = &files.seed {
        options.push(drive("seed", "format=raw,readonly=on", seed.as_str()));
        options.push(option("-device", "virtio-blk-pci,drive=seed"));
    }
    if let Some(data) = &files.data {
        options.push(drive("data", "format=qcow2,discard=unmap", data.as_str()));
        options.push(option("-device", format!("virtio-blk-pci,drive=data,serial={DATA_SERIAL}")));
    }
    options
}

fn network(cluster: &Cluster, node: &Node, link: &Link) -> Vec<Words> {
    let network = &cluster.network;
    let back = match link {
        Link::Bridge => format!("bridge,id=net,br={}", network.bridge),
        Link::User { forwards } => user_net::netdev(cluster, node, forwards),
        Link::Vmnet => {
            // The first address is the host's, the others are for DHCP clients.
            let kind = if network.mode == Mode::Isolated { "vmnet-host" } else { "vmnet-shared" };
            let last = network.cidr.last().to_bits() - 1;
            let (host, mask) = (network.host, network.cidr.mask());
            format!("{kind},id=net,start-address={host},end-address={},subnet-mask={mask}", Ipv4Addr::from(last))
        }
        // Only on loopback: without `localaddr` the packets would leave the host.
        Link::Multicast => format!("socket,id=net,mcast={GROUP}:{},localaddr=127.0.0.1", multicast_port(cluster)),
    };
    let mtu = network.mtu.map(|mtu| format!(",host_mtu={mtu}")).unwrap_or_default();
    vec![option("-netdev", back), option("-device", format!("virtio-net-pci,netdev=net,mac={}{mtu}", node.mac))]
}

/// A port that is the same for all nodes of a cluster, and most likely another for another cluster: above the registered ports,
/// below the ephemeral ones.
fn multicast_port(cluster: &Cluster) -> u16 {
    let [.., high, low] = *cluster.network.uuid.as_bytes();
    28_000 + u16::from_be_bytes([high, low]) % 4_000
}

fn surroundings() -> Vec<Words> {
    vec![
        option("-device", "virtio-rng-pci"),
        option("-rtc", "base=utc"),
        // None of the host's own configuration, no floppy, no screen.
        vec!["-no-user-config".to_owned(), "-nodefaults".to_owned()],
        option("-display", "none"),
        option("-serial", "mon:stdio"),
    ]
}
