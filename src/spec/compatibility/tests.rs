//! Compatible and incompatible versions, and the shipped channels.

use super::*;

const DEBIAN: &str = include_str!("../../../recipes/sources/debian.toml");
const UPSTREAM: &str = include_str!("../../../recipes/sources/upstream.toml");
const OLDER: &str = include_str!("../../../recipes/sources/upstream-1.35.toml");

fn shipped_table() -> Table {
    Table::parse(FILE, include_str!("../../../recipes/compatibility.toml")).unwrap()
}

/// A channel made of these texts, each based on the one before.
fn channel(texts: &[&str]) -> Sources {
    texts.iter().fold(None, |base, text| Some(Sources::parse("up.toml", text, base).unwrap())).unwrap()
}

/// The channel `upstream` with changed lines.
fn upstream(edits: &[(&str, &str)]) -> Sources {
    let text = edits.iter().fold(UPSTREAM.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    channel(&[DEBIAN, &text])
}

#[test]
fn every_shipped_channel_goes_together_without_a_warning() {
    for texts in [&[DEBIAN][..], &[DEBIAN, UPSTREAM], &[DEBIAN, UPSTREAM, OLDER]] {
        let sources = channel(texts);
        assert_eq!(check(&shipped_table(), &sources).unwrap(), Vec::<String>::new(), "{}", sources.channel);
    }
}

#[test]
fn a_file_of_one_s_own_counts_by_the_version_that_it_is_said_to_have() {
    let published =
        "version = \"kubernetes\"\nurl = \"https://dl.k8s.io/release/v{version}/bin/linux/{arch}/kubelet\"\nchecksum = \"{url}.sha256\"";
    let next = ("[versions]\n", "[versions]\nnext = \"1.37.0\"\n");
    let kubelet = |own: &str| upstream(&[next, (published, own)]);
    let shown = check(&shipped_table(), &kubelet("path = \"kubelet\"\nversion = \"next\"")).unwrap_err().to_string();
    assert!(shown.contains("kubelet 1.37.0 is not compatible with"), "{shown}");
    for own in ["path = \"kubelet\"\nversion = \"kubernetes\"", "path = \"kubelet\""] {
        check(&shipped_table(), &kubelet(own)).unwrap();
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_place_and_remedy() {
    let cases: [(&str, &str, &[&str]); 14] = [
        (
            "containerd = \"2.3.4\"",
            "containerd = \"2.3.3\"",
            &["containerd 2.3.3 must not be used: ", "up.toml:", "set it to 2.3.4 or newer"],
        ),
        ("containerd = \"2.3.4\"", "containerd = \"2.3.0\"", &["containerd 2.3.0 must not be used"]),
        (
            "containerd = \"2.3.4\"",
            "containerd = \"2.1.9\"",
            &["containerd 2.1.9 is not compatible with Kubernetes 1.36.2", "expected 2.2.0 or newer of 2.2"],
        ),
        ("etcd = \"3.6.8\"", "etcd = \"3.6.7\"", &["etcd 3.6.7 is not compatible with", "expected 3.6.8 or newer of 3.6", "found 3.6.7"]),
        ("etcd = \"3.6.8\"", "etcd = \"3.5.99\"", &["etcd 3.5.99 is not compatible with"]),
        ("coredns = \"1.14.2\"", "coredns = \"1.13.1\"", &["coredns 1.13.1 is not compatible with"]),
        ("pause = \"3.10.2\"", "pause = \"3.10\"", &["pause 3.10 is not compatible with", "expected 3.10.2"]),
        ("cni-plugins = \"1.9.1\"", "cni-plugins = \"1.1.9\"", &["cni-plugins 1.1.9 is not compatible with"]),
        ("crictl = \"1.36.0\"", "crictl = \"1.35.0\"", &["crictl 1.35.0 is not compatible with", "1.36.x", "change it in `[versions]`"]),
        ("crio = \"1.36.3\"", "crio = \"1.37.0\"", &["crio 1.37.0 is not compatible with"]),
        (
            "[artifact.kubelet]\nversion = \"kubernetes\"",
            "[artifact.kubelet]\nversion = \"crictl-old\"",
            &["kubelet 1.32.9 is not compatible with", "expected 1.33.x to 1.36.x"],
        ),
        (
            "[artifact.kubelet]\nversion = \"kubernetes\"",
            "[artifact.kubelet]\nversion = \"next\"",
            &["kubelet 1.37.0 is not compatible with"],
        ),
        (
            "[artifact.kube-scheduler]\nversion = \"kubernetes\"",
            "[artifact.kube-scheduler]\nversion = \"n-2\"",
            &["kube-scheduler 1.34.1", "expected 1.35.x to 1.36.x"],
        ),
        ("[artifact.kubeadm]\nversion = \"kubernetes\"", "[artifact.kubeadm]\nversion = \"n-2\"", &["kubeadm 1.34.1", "expected 1.36.x;"]),
    ];
    let more = ("[versions]\n", "[versions]\ncrictl-old = \"1.32.9\"\nnext = \"1.37.0\"\nn-2 = \"1.34.1\"\n");
    for (from, to, expected) in cases {
        let error = check(&shipped_table(), &upstream(&[more, (from, to)])).unwrap_err();
        let shown = error.to_string();
        assert!(expected.iter().all(|part| shown.contains(part)), "{to}: {shown}");
        assert!(shown.contains("up.toml:") && shown.contains(" | ") && shown.contains("hint: "), "the line is shown: {shown}");
    }
}

#[test]
fn what_goes_together_passes() {
    let more = ("[versions]\n", "[versions]\nn-3 = \"1.33.1\"\nnext = \"1.37.0\"\n");
    let cases = [
        ("containerd = \"2.3.4\"", "containerd = \"2.2.0\""),
        ("containerd = \"2.3.4\"", "containerd = \"2.4.0\""),
        ("runc = \"1.4.3\"", "runc = \"1.5.0\""),
        ("[artifact.kubelet]\nversion = \"kubernetes\"", "[artifact.kubelet]\nversion = \"n-3\""),
        ("[artifact.kubectl]\nversion = \"kubernetes\"", "[artifact.kubectl]\nversion = \"next\""),
    ];
    for case in cases {
        assert_eq!(check(&shipped_table(), &upstream(&[more, case])).unwrap(), Vec::<String>::new(), "{case:?}");
    }
}

#[test]
fn what_is_only_unknown_or_other_than_kubeadms_is_a_warning() {
    let newer = [("kubernetes = \"1.36.2\"", "kubernetes = \"1.99.0\"")];
    let warnings = check(&shipped_table(), &upstream(&newer)).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("up.toml:") && warnings[0].contains("Kubernetes 1.99 are not known"), "{warnings:?}");
    let warnings = check(&shipped_table(), &upstream(&[("etcd = \"3.6.8\"", "etcd = \"3.6.9\"")])).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("asks for `etcd` with the tag 3.6.8-0; the channel has registry.k8s.io/etcd:3.6.9-0"), "{warnings:?}");
}

#[test]
fn mistakes_in_the_table_have_their_place() {
    let cases = [
        ("[[kubernetes]]\nminor = \"1.36.2\"\n", "t:2:9"),
        ("[[kubernetes]]\nminor = \"1.36\"\nneedz = 1\n", "did you mean `needs`?"),
        ("[[kubernetes]]\nminor = \"1.36\"\n[[kubernetes]]\nminor = \"1.36\"\n", "Kubernetes 1.36 is described twice"),
        ("[[kubernetes]]\nminor = \"1.36\"\nneeds = { etcd = [] }\n", "no key `etcd`"),
        ("[[kubernetes]]\nminor = \"1.36\"\nneeds = { etcd = [\"v3\"] }\n", "is not a release version"),
        ("[skew]\nkubelet = { behind = 3 }\n", "no key `ahead`"),
        ("[[broken]]\nname = \"x\"\nfrom = \"2.0.0\"\nto = \"1.0.0\"\ngood = \"3.0.0\"\nwhy = \"w\"\n", "must be in this order"),
    ];
    for (text, expected) in cases {
        let shown = Table::parse("t", text).unwrap_err().to_string();
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}
