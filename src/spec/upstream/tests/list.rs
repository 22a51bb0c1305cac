//! Lists of checksums in Kubespray's format, and invalid ones.

use crate::common::value::{Arch, Digest, Sha256, Sha512};
use crate::spec::upstream::List;

fn sample() -> String {
    let hash = |of: &str| Sha256::of(of);
    format!(
        "---\n# sums\nkubelet_checksums:\n  arm64:\n    1.36.2: sha256:{}\n  amd64:\n    1.36.2: sha256:{} # newest\n    'v1.36.1': {}\n    1.10.0: 0\n\
         cni_binary_checksums:\n  amd64:\n    1.9.1: sha512:{}\ncontainerd_archive_checksums:\n  amd64:\n    2.3.4: sha256:{}\n\
         containerd_static_archive_checksums:\n  amd64:\n    2.3.4: sha256:{}\netcd_binary_checksums:\n  amd64:\n    \"3.6.8\": sha256:{}\n\
         other: value\nmore:\n  - {{ a: b }}\n",
        hash("arm"),
        hash("amd"),
        hash("old"),
        Sha512::of("cni"),
        hash("dynamic"),
        hash("static"),
        hash("etcd"),
    )
}

#[test]
fn artifacts_are_found_under_the_names_that_the_list_has() {
    let list = List::parse("some where/checksums list.yml", &sample()).unwrap();
    assert_eq!(list.name, "checksums_list.yml");
    let get = |name: &str, arch, version: &str, file: &str| {
        let url = format!("https://host.example/{file}");
        list.get(&name.parse().unwrap(), arch, &version.parse().unwrap(), &url).map(|found| (found.digest, found.line))
    };
    let short = |of: &str| Digest::Sha256(Sha256::of(of));
    assert_eq!(get("kubelet", Arch::Amd64, "1.36.2", "kubelet"), Some((short("amd"), 7)));
    assert_eq!(get("kubelet", Arch::Arm64, "1.36.2", "kubelet"), Some((short("arm"), 5)));
    assert_eq!(get("kubelet", Arch::Amd64, "1.36.1", "kubelet"), Some((short("old"), 8)), "a leading v does not count");
    assert_eq!(get("kubelet", Arch::Amd64, "1.10.0", "kubelet"), None, "0 stands for nothing");
    assert_eq!(get("kubelet", Arch::Amd64, "1.36.3", "kubelet"), None);
    assert_eq!(get("kube-proxy", Arch::Amd64, "1.36.2", "kube-proxy"), None);
    assert_eq!(get("cni-plugins", Arch::Amd64, "1.9.1", "cni.tgz"), Some((Digest::Sha512(Sha512::of("cni")), 12)));
    assert_eq!(get("containerd", Arch::Amd64, "2.3.4", "containerd-2.3.4.tar.gz").map(|found| found.0), Some(short("dynamic")));
    assert_eq!(get("containerd", Arch::Amd64, "2.3.4", "containerd-static-2.3.4.tar.gz").map(|found| found.0), Some(short("static")));
    assert_eq!(get("etcdctl", Arch::Amd64, "3.6.8", "etcd.tar.gz").map(|found| found.0), Some(short("etcd")));
}

#[test]
fn what_is_no_list_is_refused_with_its_line() {
    let a = Sha256::of("a");
    let b = Sha256::of("b");
    let cases = [
        (String::new(), "l.yml has no list of checksums"),
        ("key: value\n".to_owned(), "l.yml has no list of checksums"),
        (format!("k_checksums:\n  amd64:\n    1.0.0: {a}\n    1.0.0: {b}\n"), "l.yml, line 4: line 3 has another digest"),
        ("k_checksums:\n  amd64:\n    1.0.0: sha256:abc\n".to_owned(), "l.yml, line 3: this is not a SHA-256"),
        (format!("k_checksums:\n  amd64:\n    1.0.0: sha512:{a}\n"), "l.yml, line 3: this is not a SHA-256"),
        (format!("k_checksums:\n  amd64:\n    1.0.0: md5:{a}\n"), "l.yml, line 3: this is not a SHA-256"),
        (format!("k_checksums:\n  1.0.0: {a}\n"), "l.yml, line 2: a digest stands below a machine"),
        ("k_checksums:\n  amd64:\n    1.0.0:\n      x: 1\n".to_owned(), "l.yml, line 3: a list has three levels"),
        ("k_checksums:\n  - amd64\n".to_owned(), "l.yml, line 2: expected `KEY:`"),
        ("k_checksums:\n  - amd64: x\n".to_owned(), "l.yml, line 2: lists of checksums do not have"),
        ("k_checksums:\n  &x amd64:\n".to_owned(), "l.yml, line 2: lists of checksums do not have"),
        (format!("k_checksums:\n\tamd64:\n\t\t1.0.0: {a}\n"), "l.yml, line 2: YAML is indented with spaces"),
    ];
    for (text, expected) in cases {
        let error = List::parse("l.yml", &text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let same = format!("k_checksums:\n  amd64:\n    1.0.0: {a}\n    v1.0.0: sha256:{a}\n");
    assert!(List::parse("l.yml", &same).is_ok(), "said twice is no contradiction");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(k_checksums:\n|  amd64:\n|    1.0.0: |[0-9a-f]{64}\n|[ -~\n\t\u{e9}']{0,9}){0,12}") {
        let _ = List::parse("l.yml", &text);
    }
}
