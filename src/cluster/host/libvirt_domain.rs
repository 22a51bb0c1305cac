//! One node as a machine for libvirt ([format](https://libvirt.org/formatdomain.html), as of libvirt 9.0).
//!
//! PCI addresses, controllers and the emulator are left to libvirt.

use super::xml::Element;
use super::{Accel, EMULATED_CPU, HostPath, MachineFiles};
use crate::cluster::model::{Cluster, Firmware, Mode, Node};
use crate::cluster::node::data_disk::DATA_SERIAL;
use crate::common::value::{Arch, Size};

/// The machine's name for libvirt and QEMU. It includes the cluster's: two clusters on a host may both have a `worker0`.
pub(crate) fn domain_name(cluster: &Cluster, node: &Node) -> String {
    format!("{}-{}", cluster.name, node.name)
}

/// The machine as XML for `virsh define`. Its disk must exist before it is started.
pub(crate) fn domain_xml(cluster: &Cluster, node: &Node, files: &MachineFiles, accel: Accel) -> String {
    let kind = match accel {
        Accel::Kvm => "kvm",
        Accel::Hvf => "hvf",
        Accel::Emulated => "qemu",
    };
    Element::new("domain")
        .with("type", kind)
        .child(Element::text("name", domain_name(cluster, node)))
        .child(Element::text("uuid", node.uuid))
        .child(Element::text("title", &node.fqdn))
        .child(memory(node.memory))
        .child(Element::text("vcpu", node.vcpus).with("placement", "static"))
        .child(os(cluster.arch, node.firmware))
        .child(Element::new("features").child(Element::new("acpi")).child(Element::new("apic")))
        .child(cpu(accel))
        .child(Element::new("clock").with("offset", "utc"))
        .child(Element::text("on_poweroff", "destroy"))
        .child(Element::text("on_reboot", "restart"))
        .child(Element::text("on_crash", "destroy"))
        // A suspended node counts as lost.
        .child(Element::new("pm").children(["suspend-to-mem", "suspend-to-disk"].map(|name| Element::new(name).with("enabled", "no"))))
        .child(devices(cluster, node, files))
        .document()
}

/// A size in the largest unit that is exact. libvirt itself counts in KiB.
fn memory(size: Size) -> Element {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let exact = units.into_iter().find(|(_, shift)| size.0.trailing_zeros() >= *shift);
    let (unit, shift) = exact.unwrap_or(("bytes", 0));
    Element::text("memory", size.0 >> shift).with("unit", unit)
}

fn os(arch: Arch, firmware: Firmware) -> Element {
    let arch = match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    };
    let kind = Element::text("type", "hvm").with("arch", arch).with("machine", "q35");
    match firmware {
        Firmware::Bios => Element::new("os").child(kind),
        // libvirt picks a firmware of the host's. A user's own images are usually not signed.
        Firmware::Uefi => {
            let unsigned = Element::new("feature").with("enabled", "no").with("name", "secure-boot");
            Element::new("os").with("firmware", "efi").child(kind).child(Element::new("firmware").child(unsigned))
        }
    }
}

fn cpu(accel: Accel) -> Element {
    match accel {
        Accel::Kvm | Accel::Hvf => Element::new("cpu").with("mode", "host-passthrough"),
        Accel::Emulated => {
            let model = Element::text("model", EMULATED_CPU).with("fallback", "forbid");
            Element::new("cpu").with("mode", "custom").with("match", "exact").child(model)
        }
    }
}

fn devices(cluster: &Cluster, node: &Node, files: &MachineFiles) -> Element {
    let pty = |name| Element::new(name).with("type", "pty");
    Element::new("devices")
        .child(disk(files))
        .children(files.seed.as_ref().map(seed))
        .children(files.data.as_ref().map(data))
        .child(Element::new("controller").with("type", "usb").with("model", "none"))
        .child(interface(cluster, node))
        .child(pty("serial").child(Element::new("target").with("type", "isa-serial").with("port", 0)))
        .child(pty("console").child(Element::new("target").with("type", "serial").with("port", 0)))
        // Keys and certificates are generated in the first seconds, when a machine without this device has no entropy yet.
        .child(Element::new("rng").with("model", "virtio").child(Element::text("backend", "/dev/urandom").with("model", "random")))
}

/// The interface on the cluster's network, or on the bridge itself if kbake does not manage it: that needs no libvirt network,
/// and works in `qemu:///session` as well, through QEMU's bridge helper.
fn interface(cluster: &Cluster, node: &Node) -> Element {
    let source = Element::new("source");
    let (kind, source) = match cluster.network.mode {
        Mode::Bridged => ("bridge", source.with("bridge", &cluster.network.bridge)),
        Mode::Nat { .. } | Mode::Route { .. } | Mode::Isolated | Mode::Open => ("network", source.with("network", &cluster.name)),
    };
    Element::new("interface")
        .with("type", kind)
        .child(Element::new("mac").with("address", node.mac))
        .child(source)
        .child(Element::new("model").with("type", "virtio"))
}

fn file(path: &HostPath, driver: Element) -> Element {
    Element::new("disk").with("type", "file").with("device", "disk").child(driver).child(Element::new("source").with("file", path))
}

/// The machine's disk. Its backing image is left to its own header, which states name and format: repeated here, it would have
/// to be changed whenever the disk is.
fn disk(files: &MachineFiles) -> Element {
    let driver = Element::new("driver").with("name", "qemu").with("type", "qcow2").with("discard", "unmap");
    file(&files.disk, driver)
        .child(Element::new("target").with("dev", "vda").with("bus", "virtio"))
        .child(Element::new("boot").with("order", 1))
}

/// The data disk. The node identifies it by its serial number, at any position on the bus.
fn data(path: &HostPath) -> Element {
    file(path, Element::new("driver").with("name", "qemu").with("type", "qcow2").with("discard", "unmap"))
        .child(Element::new("target").with("dev", "vdc").with("bus", "virtio"))
        .child(Element::text("serial", DATA_SERIAL))
}

/// The seed: cloud-init looks for a volume of its label on any disk.
fn seed(path: &HostPath) -> Element {
    file(path, Element::new("driver").with("name", "qemu").with("type", "raw"))
        .child(Element::new("target").with("dev", "vdb").with("bus", "virtio"))
        .child(Element::new("readonly"))
}
