//! The effect of each operation on a complete folder, and on an almost complete one.

use secrecy::ExposeSecret as _;

use super::super::init::Report;
use super::super::renew::Renewed;
use super::*;
use crate::cluster::model::HostName;

#[test]
fn a_second_init_writes_no_byte() {
    for name in ["kubenet", "etcd"] {
        let place = Place::empty(name);
        let first = place.pki().init(NOW).unwrap();
        assert_eq!(first.made.len(), 5 + place.pki().wanted().len() + place.cluster.nodes.len(), "{name}");
        assert_eq!((first.kept, &first.problems, &first.warnings, &first.notes), (0, &vec![], &vec![], &vec![]), "{name}");
        let before = place.snapshot();
        let second = place.pki().init(NOW + 5 * DAY).unwrap();
        assert_eq!(second, Report { kept: first.made.len(), ..Report::default() }, "{name}");
        assert_eq!(place.snapshot(), before, "{name}");
        place.pki().show(NOW).unwrap();
        place.pki().load(NOW).unwrap();
        assert_eq!(place.snapshot(), before, "{name}: to look changes nothing");
    }
}

#[test]
fn what_is_missing_is_made_and_the_rest_stays() {
    let place = Place::full("kubenet");
    let before = place.snapshot();
    for ending in ["crt", "key"] {
        fs::remove_file(place.at(&format!("nodes/worker1/kubelet.{ending}"))).unwrap();
    }
    fs::remove_file(place.at("admin.crt")).unwrap();
    fs::remove_file(place.at("sa.pub")).unwrap();
    let report = place.pki().init(NOW).unwrap();
    assert_eq!(report.made, ["sa", "admin", "worker1/kubelet"]);
    assert_eq!(report.problems, []);
    let after = place.snapshot();
    let kept = |name: &str| assert_eq!(before[&place.at(name)].1, after[&place.at(name)].1, "{name}");
    kept("admin.key");
    kept("sa.pub");
    kept("nodes/worker2/kubelet.key");
    assert_ne!(before[&place.at("nodes/worker1/kubelet.key")].1, after[&place.at("nodes/worker1/kubelet.key")].1);
    place.pki().load(NOW).unwrap();
}

#[test]
fn a_node_more_is_completed_and_one_less_is_told() {
    let mut place = Place::full("kubenet");
    let gone = place.cluster.nodes.iter().position(|node| node.name.as_str() == "worker2").unwrap();
    let node = place.cluster.nodes.remove(gone);
    let report = place.pki().init(NOW).unwrap();
    assert_eq!(report.notes.len(), 1);
    assert!(report.notes[0].starts_with("nodes/worker2 belongs to no node of the cluster"), "{report:?}");
    fs::remove_dir_all(place.at("nodes/worker2")).unwrap();
    place.cluster.nodes.push(node);
    assert_eq!(place.pki().init(NOW).unwrap().made, ["worker2/kube-proxy", "worker2/kubelet", "worker2/ssh"]);
}

#[test]
fn another_address_is_reported_with_the_command_that_repairs_it() {
    let mut place = Place::full("kubenet");
    place.cluster.api.as_mut().unwrap().address = Some("192.168.3.22".parse().unwrap());
    let before = place.snapshot();
    let report = place.pki().init(NOW).unwrap();
    assert_eq!(place.snapshot(), before, "what does not fit is left alone");
    let what = "lacks the address `192.168.3.22`";
    let expected = |node: &str| Problem {
        name: format!("{node}/apiserver"),
        what: what.to_owned(),
        remedy: format!("kbake pki renew {node}/apiserver"),
    };
    let missing: Vec<&Problem> = report.problems.iter().filter(|problem| problem.what == what).collect();
    assert_eq!(missing, [&expected("control0"), &expected("control1"), &expected("control2")]);
    let error = place.pki().load(NOW).unwrap_err().to_string();
    assert!(error.ends_with("\nhint: kbake pki renew control0/apiserver control1/apiserver control2/apiserver"), "{error}");
    let names: Vec<&str> = error.lines().last().unwrap().split(' ').skip(4).collect();
    let renewed = place.pki().renew(&names, NOW).unwrap();
    assert_eq!(renewed.names, ["control0/apiserver", "control1/apiserver", "control2/apiserver"]);
    place.pki().load(NOW).unwrap();
}

#[test]
fn a_moved_address_of_an_etcd_member_is_kept_and_not_certified_again() {
    let mut place = Place::full("kubenet");
    let node = place.cluster.nodes.iter_mut().find(|node| node.name.as_str() == "control0").unwrap();
    let from = std::mem::replace(&mut node.address, "192.168.3.77".parse().unwrap());
    let error = place.pki().load(NOW).unwrap_err();
    let keep = format!("etcd's members know `control0` by the address {from}: keep it with `address = \"{from}\"` in its [[node]]");
    let hints = error.hints().join("\n");
    assert!(hints.contains(&keep) && hints.contains("`etcdctl member update` first, then `kbake pki renew control0`"), "{error}");
    assert!(!hints.starts_with("kbake pki renew") && !hints.contains("\nkbake pki renew"), "no certificate mends it: {error}");
}

#[test]
fn renewing_changes_key_and_certificate_of_what_is_named_only() {
    let place = Place::full("kubenet");
    let before = place.snapshot();
    let renewed = place.pki().renew(&["worker0", "admin"], NOW + DAY).unwrap();
    assert_eq!(renewed, Renewed { names: ["admin", "worker0/kube-proxy", "worker0/kubelet"].map(str::to_owned).into(), notes: vec![] });
    let after = place.snapshot();
    assert!(before.keys().eq(after.keys()), "no file more, none less");
    let changed: Vec<String> = after
        .iter()
        .filter(|(path, (_, bytes, ..))| before[*path].1 != *bytes)
        .map(|(path, _)| path.strip_prefix(place.pki().folder()).unwrap().display().to_string())
        .collect();
    let expected = [
        "admin.crt",
        "admin.key",
        "nodes/worker0/kube-proxy.crt",
        "nodes/worker0/kube-proxy.key",
        "nodes/worker0/kubelet.crt",
        "nodes/worker0/kubelet.key",
    ];
    assert_eq!(changed, expected);
    assert_eq!(place.pki().renew(&[], NOW).unwrap().names.len(), place.pki().wanted().len());
    place.pki().load(NOW).unwrap();
}

#[test]
fn names_that_cannot_be_renewed_are_refused_with_the_reason() {
    let place = Place::full("kubenet");
    let before = place.snapshot();
    let cases = [
        ("control0/apisrver", "did you mean `control0/apiserver`?"),
        ("contrl0", "did you mean `control0`?"),
        ("gateway", "`kbake pki show` lists all names"),
        ("", "`kbake pki show` lists all names"),
        ("../x\n", "the cluster has no certificate `../x\\n`"),
        ("gateway/ssh", "SSH host key, and is not renewed"),
        ("control0/ssh", "ssh_host_ed25519_key"),
        ("ca", "is an authority, and is not renewed in place"),
        ("etcd-ca", "is an authority, and is not renewed in place"),
        ("sa", "all service account tokens"),
        ("encryption", "the secrets in etcd would become unreadable"),
    ];
    for (name, why) in cases {
        let error = place.pki().renew(&["admin", name], NOW).unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert_eq!(place.snapshot(), before);
}

#[test]
fn time_passes() {
    let place = Place::full("kubenet");
    let days = i64::from(place.cluster.validity.certificates);
    assert_eq!(place.pki().init(NOW + (days - 31) * DAY).unwrap().warnings, []);
    let later = NOW + (days - 30) * DAY + 1;
    let report = place.pki().init(later).unwrap();
    assert_eq!((report.warnings.len(), report.problems.len()), (place.pki().wanted().len(), 0));
    assert!(report.warnings[0].what.ends_with("in 29 days"), "{report:?}");
    assert_eq!(report.warnings[0].remedy, "kbake pki renew admin");
    assert_eq!(place.pki().load(later).unwrap().warnings().len(), report.warnings.len(), "seeds can still be made");
    assert!(matches!(&place.pki().show(later).unwrap()[5].state, State::Expiring(_)));

    let last = NOW + days * DAY;
    place.pki().load(last).unwrap();
    let error = place.pki().load(last + 1).unwrap_err().to_string();
    assert!(error.contains("\n  admin has expired on 2030-01-14"), "{error}");
    let error = place.pki().load(NOW - 2 * 3600).unwrap_err().to_string();
    assert!(error.contains("admin is valid from 2027-01-15 on only: is this host's clock right?"), "{error}");

    // Near the authority's end a renewal is valid for the remaining days, and says so.
    let near = NOW + (i64::from(place.cluster.validity.authorities) - 20) * DAY;
    let renewed = place.pki().renew(&["admin", "etcd-admin"], near).unwrap();
    assert_eq!(renewed.notes.len(), 2);
    assert_eq!(renewed.notes[0], "certificates of `ca` end on 2037-01-12, with their authority");
    let rows = place.pki().show(near).unwrap();
    assert_eq!(rows[0].not_after, rows[5].not_after, "a certificate never outlives its authority");
    let State::Expiring(problem) = &rows[5].state else { panic!("{rows:?}") };
    assert_eq!(problem.remedy, "see what a new authority entails: kbake pki renew ca");
    let error = place.pki().renew(&["admin"], near + 21 * DAY).unwrap_err().to_string();
    assert!(error.contains("the authority `ca` cannot sign\n  ca has expired"), "{error}");
}

#[test]
fn clocks_that_cannot_be_are_no_panic() {
    for now in [i64::MIN, -1, 0, 3599] {
        let error = Place::empty("one-node").pki().init(now).unwrap_err().to_string();
        assert!(error.contains("clock is before 1970"), "{now}: {error}");
    }
    let place = Place::empty("one-node");
    assert!(place.pki().init(i64::MAX).is_err() || place.pki().load(NOW).is_err());
}

#[test]
fn the_rows_say_what_there_is() {
    let place = Place::full("kubenet");
    let rows = place.pki().show(NOW).unwrap();
    assert!(rows.iter().all(|row| row.state == State::Good), "{rows:?}");
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let kubelet = row("worker0/kubelet");
    assert_eq!(kubelet.subject.as_deref(), Some("O=system:nodes, CN=system:node:worker0"));
    assert_eq!(kubelet.issuer.as_deref(), Some("CN=kubenet-ca"));
    assert_eq!(kubelet.sans.len(), 3, "{kubelet:?}");
    assert_eq!(kubelet.not_after, Some(NOW + 1095 * DAY));
    assert_eq!((&row("encryption").subject, row("sa").not_after), (&None, None));
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).take(6).collect();
    assert_eq!(names, ["ca", "etcd-ca", "front-proxy-ca", "sa", "encryption", "admin"]);

    let empty = Place::empty("kubenet");
    let rows = empty.pki().show(NOW).unwrap();
    assert!(rows.iter().all(|row| row.state == State::Missing));
    assert!(!empty.secrets().exists(), "to look makes nothing");
    let error = empty.pki().load(NOW).unwrap_err().to_string();
    assert!(error.contains("has no certificates and keys yet") && error.ends_with("hint: kbake pki init"), "{error}");
}

#[test]
fn secrets_are_handed_out_whole() {
    let place = Place::full("kubenet");
    let secrets = place.pki().load(NOW).unwrap();
    let (control, worker): (HostName, HostName) = ("control1".parse().unwrap(), "worker0".parse().unwrap());
    let purposes = |node: &HostName| secrets.node(node).map(|(purpose, _)| purpose.name()).collect::<Vec<_>>().join(" ");
    assert_eq!(purposes(&worker), "kube-proxy kubelet");
    assert_eq!(
        purposes(&control),
        "apiserver apiserver-etcd-client apiserver-kubelet-client controller-manager etcd-peer etcd-server front-proxy-client kube-proxy \
         kubelet scheduler"
    );
    assert_eq!(purposes(&"gateway".parse().unwrap()), "");
    let kubelet = secrets.of(&worker, Purpose::Kubelet).unwrap();
    assert_eq!(kubelet.certificate(), place.read("nodes/worker0/kubelet.crt"));
    assert_eq!(kubelet.key().expose_secret(), place.read("nodes/worker0/kubelet.key"));
    assert!(secrets.of(&worker, Purpose::Apiserver).is_none());
    assert_eq!(secrets.authority(Authority::Etcd), place.read("etcd-ca.crt"));
    assert_eq!(secrets.signing_key_for_control_plane(Authority::Cluster).unwrap().expose_secret(), place.read("ca.key"));
    assert_eq!(secrets.service_account_key().expose_secret(), place.read("sa.key"));
    assert_eq!(secrets.service_account_public(), place.read("sa.pub"));
    assert_eq!(secrets.encryption_key().expose_secret(), place.read("encryption.key").trim_end());
    assert_eq!(pem::from_base64(secrets.encryption_key().expose_secret()).unwrap().expose_secret().len(), 32);
    assert_eq!(secrets.admin().certificate(), place.read("admin.crt"));
}

#[test]
fn an_authority_whose_key_is_elsewhere_is_enough_until_something_must_be_signed() {
    let place = Place::full("kubenet");
    let key = place.read("ca.key");
    fs::remove_file(place.at("ca.key")).unwrap();
    let before = place.snapshot();
    assert_eq!(place.pki().init(NOW).unwrap().problems, []);
    assert_eq!(place.pki().show(NOW).unwrap()[0].state, State::WithoutKey);
    let secrets = place.pki().load(NOW).unwrap();
    let error = secrets.signing_key_for_control_plane(Authority::Cluster).unwrap_err().to_string();
    assert!(error.contains("is kept elsewhere"), "{error}");
    secrets.signing_key_for_control_plane(Authority::Etcd).unwrap();
    assert_eq!(place.snapshot(), before);

    fs::remove_file(place.at("admin.crt")).unwrap();
    let before = place.snapshot();
    let error = place.pki().init(NOW).unwrap_err().to_string();
    assert!(error.contains("`ca` cannot sign: its key is kept elsewhere") && error.contains("to be signed: admin"), "{error}");
    assert!(place.pki().renew(&["worker0"], NOW).is_err());
    assert_eq!(place.snapshot(), before, "nothing is made when not all can be");
    place.pki().renew(&["etcd-admin"], NOW).unwrap();

    let imported = place.pki().import(Authority::Cluster, &place.read("ca.crt"), &key.as_str().into(), NOW).unwrap();
    assert_eq!(imported, Imported::KeyBroughtBack);
    assert_eq!(place.pki().init(NOW).unwrap().made, ["admin"]);
    assert_eq!(place.read("ca.key"), key);
}

#[test]
fn what_all_else_depends_on_is_never_made_a_second_time() {
    let cases = [
        (&["ca.crt"][..], "ca.crt is missing"),
        (&["etcd-ca.crt", "etcd-ca.key"], "etcd-ca.crt"),
        (&["sa.key", "sa.pub"], "sa.key"),
        (&["encryption.key"], "encryption.key"),
    ];
    for (gone, what) in cases {
        let place = Place::full("kubenet");
        for name in gone {
            fs::remove_file(place.at(name)).unwrap();
        }
        let before = place.snapshot();
        let error = place.pki().init(NOW).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("restore the files from a backup"), "{error}");
        assert_eq!(place.snapshot(), before);
        assert!(place.pki().load(NOW).is_err());
    }
    // The private half of a key pair cannot be derived from the public one.
    let place = Place::full("kubenet");
    fs::remove_file(place.at("sa.key")).unwrap();
    assert!(place.pki().init(NOW).unwrap().problems[0].what.contains("only its public half"));
    assert!(!place.at("sa.key").exists());
}

#[test]
fn keys_and_serial_numbers_are_never_the_same() {
    let place = Place::full("kubenet");
    let all = place.snapshot();
    let mut seen = std::collections::BTreeSet::new();
    for (path, (_, bytes, ..)) in &all {
        if path.extension().is_some_and(|ending| ending == "key") {
            assert!(seen.insert(bytes.clone()), "{}", path.display());
        }
        if path.extension().is_some_and(|ending| ending == "crt") {
            let blocks = std::str::from_utf8(bytes).unwrap();
            let blocks = pem::blocks(blocks).unwrap();
            let (_, x509) = x509_parser::parse_x509_certificate(blocks[0].der.expose_secret()).unwrap();
            let serial = x509.raw_serial().to_vec();
            assert!(serial.len() == 16 && (0x40..0x80).contains(&serial[0]), "positive, and of one length: {serial:x?}");
            assert!(seen.insert(serial));
        }
    }
}

#[test]
fn every_node_has_a_host_key_of_its_own_that_stays() {
    let place = Place::full("kubenet");
    let keys = place.pki().host_keys(NOW).unwrap();
    assert_eq!(keys.len(), place.cluster.nodes.len());
    assert_eq!(keys.values().collect::<std::collections::BTreeSet<_>>().len(), keys.len(), "no two are alike");
    place.pki().renew(&[], NOW).unwrap();
    assert_eq!(place.pki().host_keys(NOW).unwrap(), keys, "to renew certificates is no reason to alarm anybody");
    let loaded = place.pki().load(NOW).unwrap();
    let gateway = &place.cluster.node("gateway").unwrap().name;
    assert_eq!(loaded.host_key(gateway).unwrap().public(), keys[gateway]);
    assert!(!format!("{loaded:?}").contains("OPENSSH"), "and none is printed");

    // Without a host key no seed is made, and the error names the command that makes it; an invalid one is left alone.
    let path = place.at("nodes/gateway/ssh_host_ed25519_key");
    fs::remove_file(&path).unwrap();
    let error = place.pki().load(NOW).unwrap_err().to_string();
    assert!(error.contains("gateway/ssh is missing") && error.ends_with("hint: kbake pki init"), "{error}");
    assert_eq!(place.pki().init(NOW).unwrap().made, ["gateway/ssh"]);
    place.put("nodes/gateway/ssh_host_ed25519_key", "no key");
    let report = place.pki().init(NOW).unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "no key");
}

#[test]
fn known_hosts_keeps_what_others_have_added() {
    let place = Place::full("lab");
    let pki = place.pki();
    pki.write_known_hosts("a ssh-ed25519 AAAA kbake:lab\n", " kbake:lab").unwrap();
    let path = place.at("known_hosts");
    let added = "elsewhere ssh-rsa BBBB\n# mine\n";
    fs::write(&path, place.read("known_hosts") + added).unwrap();
    pki.write_known_hosts("b ssh-ed25519 CCCC kbake:lab\n", " kbake:lab").unwrap();
    assert_eq!(place.read("known_hosts"), format!("b ssh-ed25519 CCCC kbake:lab\n{added}"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(pki.write_known_hosts("", " kbake:lab").is_err(), "others could have led the owner elsewhere");
}

#[test]
fn the_way_to_the_folder_counts_and_a_project_s_own_gitignore_is_not_touched() {
    let place = Place::empty("lab");
    let open = place.dir.path().join("open");
    fs::create_dir_all(open.join("mine")).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let error = Pki::new(&open.join("mine/secrets"), &place.cluster).init(NOW).unwrap_err().to_string();
    assert!(error.contains("can be changed by others") && error.contains("hint: chmod go-w "), "{error}");
    assert!(!open.join("mine/secrets").exists());

    // `--secrets .`: an existing folder keeps its own `.gitignore`.
    let project = place.dir.path().join("project");
    fs::create_dir(&project).unwrap();
    fs::set_permissions(&project, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(project.join("cluster.toml"), "").unwrap();
    let report = Pki::new(&project, &place.cluster).init(NOW).unwrap();
    assert!(!project.join(".gitignore").exists());
    assert_eq!(fs::read_to_string(project.join("lab/.gitignore")).unwrap(), "*\n");
    assert_eq!(report.notes, [""; 0], "what is private is kept out all the same");
}
