//! The order of installation.

use std::collections::BTreeMap;

use crate::build::base::packages::{Package, is_name, steps};
use crate::formats::archive::deb::Control;

fn all(stanzas: &[&str]) -> BTreeMap<String, Package> {
    let parse = |text: &&str| {
        let control = Control::parse(format!("{text}\nVersion: 1\nArchitecture: all\n").as_bytes()).unwrap();
        let package = Package::of(&control);
        (package.name.clone(), package)
    };
    stanzas.iter().map(parse).collect()
}

#[test]
fn the_first_step_is_closed_and_begins_with_the_base() {
    let set = all(&[
        "Package: bash\nEssential: yes\nPre-Depends: libc6 (>= 2.36), libtinfo6 (>= 6)\nDepends: base-files (>= 2.1.12), debianutils [amd64]",
        "Package: base-files\nEssential: yes\nPre-Depends: awk",
        "Package: base-passwd\nEssential: yes\nDepends: libc6:any (>= 2.8),\n libdebconfclient0 (>= 0.145)",
        "Package: mawk\nProvides: awk (= 1), something",
        "Package: gawk\nProvides: awk",
        "Package: dpkg\nEssential: yes\nDepends: adduser | passwd",
        "Package: passwd",
        "Package: debianutils\nDepends: bash",
        "Package: libc6",
        "Package: libtinfo6",
        "Package: libdebconfclient0",
        "Package: etcd-server\nDepends: nothing-here",
    ]);
    let found = steps(&set).unwrap();
    let expected =
        ["base-passwd", "base-files", "bash", "debianutils", "dpkg", "gawk", "libc6", "libdebconfclient0", "libtinfo6", "passwd"];
    assert_eq!(found.essential, expected, "alternatives, qualifiers, virtual packages and loops are followed");
    assert_eq!(found.rest, [["etcd-server", "mawk"]]);
}

#[test]
fn what_is_needed_before_unpacking_is_installed_before() {
    let set = all(&[
        "Package: bash\nEssential: yes",
        "Package: systemd-sysv\nPre-Depends: systemd",
        "Package: systemd\nPre-Depends: libacl1, bash\nDepends: mount | other, libx | liby",
        "Package: mount\nPre-Depends: libmount1",
        "Package: libmount1",
        "Package: libacl1",
        "Package: liby",
        "Package: nano\nDepends: systemd-sysv",
    ]);
    let expected = [vec!["libacl1", "libmount1"], vec!["liby", "mount", "systemd"], vec!["nano", "systemd-sysv"]];
    assert_eq!(steps(&set).unwrap().rest, expected, "with all that it needs itself");

    let round = all(&["Package: bash\nEssential: yes", "Package: one\nPre-Depends: two", "Package: two\nPre-Depends: one"]);
    assert_eq!(steps(&round).unwrap().rest, [["one", "two"]], "dpkg refuses it, and says why");
}

#[test]
fn what_is_no_base_is_refused() {
    let cases: &[(&[&str], &str)] = &[
        (&["Package: apt"], "none of them is essential"),
        (&["Package: bash\nEssential: yes\nDepends: a1 | b2"], "`bash` needs a1 or b2"),
    ];
    for (stanzas, expected) in cases {
        let error = steps(&all(stanzas)).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("kbake lock"), "{error}");
    }
}

#[test]
fn names_need_no_quoting() {
    for good in ["libc6", "g++-12", "libstdc++6", "2ping", "python3.11"] {
        assert!(is_name(good), "{good}");
    }
    for bad in ["", "a", "-rf", "../x", "a b", "a;b", "A1", "a/b", "a\nb", "a$b", "é1"] {
        assert!(!is_name(bad), "{bad:?}");
    }
}
