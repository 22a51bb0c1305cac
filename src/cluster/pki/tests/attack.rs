//! Folders that others can reach, invalid files, and keys that no message may show.

use std::os::unix::fs::symlink;

use secrecy::ExposeSecret as _;

use super::super::certificate::Certificate;
use super::super::issue::{self, Signer};
use super::super::key::Key;
use super::super::wanted::Usage;
use super::*;
use crate::common::fsx::{Facts, Kind};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The messages of all operations, in one text.
fn said(place: &Place) -> String {
    let pki = place.pki();
    let (certificate, key) = (fs::read(place.at("ca.crt")), fs::read(place.at("ca.key")));
    let text = |bytes: std::io::Result<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let mut all = vec![format!("{:?}", pki.show(NOW)), format!("{:?}", pki.load(NOW)), format!("{:?}", pki.init(NOW))];
    all.push(format!("{:?}", pki.import(Authority::Cluster, &text(certificate), &text(key).into(), NOW)));
    all.push(format!("{:?}", pki.renew(&["control0/apiserver"], NOW)));
    all.extend(pki.load(NOW).err().map(|error| error.to_string()));
    all.join("\n")
}

#[test]
fn what_others_can_reach_is_refused_by_all_and_stays_as_it_is() {
    let cases = [
        ("", 0o755),
        ("", 0o701),
        ("..", 0o750),
        ("nodes", 0o711),
        ("nodes/worker0", 0o770),
        ("ca.key", 0o640),
        ("ca.key", 0o604),
        ("sa.key", 0o620),
        ("encryption.key", 0o601),
        ("nodes/worker0/kubelet.key", 0o644),
        ("nodes/gateway/ssh_host_ed25519_key", 0o640),
        ("admin.crt", 0o622),
        ("sa.pub", 0o602),
    ];
    for (name, mode) in cases {
        let place = Place::full("kubenet");
        let path = if name == ".." { place.secrets() } else { place.at(name) };
        chmod(&path, mode);
        let before = place.snapshot();
        let pki = place.pki();
        let key = place.read("ca.key").as_str().into();
        let errors = [
            pki.init(NOW).map(drop).unwrap_err(),
            pki.show(NOW).map(drop).unwrap_err(),
            pki.load(NOW).map(drop).unwrap_err(),
            pki.renew(&[], NOW).map(drop).unwrap_err(),
            pki.import(Authority::Cluster, &place.read("ca.crt"), &key, NOW).map(drop).unwrap_err(),
        ];
        for error in errors {
            let error = error.to_string();
            assert!(error.contains(&format!("can be reached by others (mode {mode:o})")), "{name}: {error}");
            let right = if path.is_dir() { "700" } else { "600" };
            assert!(error.ends_with(&format!("hint: chmod {right} {}", path.display()).replace("//", "/")) || name.is_empty(), "{error}");
        }
        assert_eq!(place.snapshot(), before, "{name}");
        chmod(&path, if path.is_dir() { 0o700 } else { 0o600 });
        pki.load(NOW).unwrap();
    }
    // Public files may be readable; a user may also restrict them further.
    let place = Place::full("one-node");
    chmod(&place.at("admin.crt"), 0o644);
    chmod(&place.at("admin.key"), 0o400);
    place.pki().load(NOW).unwrap();
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let facts = |owner| Facts { kind: Kind::File, mode: 0o600, owner, size: 1 };
    let (path, me) = (Path::new("secrets/my cluster/ca.key"), crate::common::fsx::user());
    assert_eq!(folder::why_reached(path, facts(me), 0o077, "600"), None);
    let (what, remedy) = folder::why_reached(path, facts(me + 1), 0o077, "600").unwrap();
    assert_eq!(what, format!("belongs to user {}, and this is user {me}", me + 1));
    assert_eq!(remedy, format!("run kbake as its owner, or: chown {me} 'secrets/my cluster/ca.key'"));
}

#[test]
fn only_real_files_and_folders_are_taken() {
    type Change = fn(&Path);
    let to_link: Change = |path| {
        let kept = path.with_extension("kept");
        fs::rename(path, &kept).unwrap();
        symlink(&kept, path).unwrap();
    };
    let to_dangling: Change = |path| {
        fs::remove_file(path).unwrap();
        symlink("/nowhere", path).unwrap();
    };
    let to_folder: Change = |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    };
    let to_pipe: Change = |path| {
        fs::remove_file(path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    };
    let to_flood: Change = |path| fs::write(path, "x".repeat(70_000)).unwrap();
    let to_noise: Change = |path| fs::write(path, [0xff; 100]).unwrap();
    for (change, what) in [
        (to_link, "is not a regular file"),
        (to_dangling, "is not a regular file"),
        (to_folder, "is not a regular file"),
        (to_pipe, "is not a regular file"),
        (to_flood, "has more than 65536 bytes"),
        (to_noise, "is not text"),
    ] {
        for name in ["ca.key", "ca.crt", "sa.pub", "encryption.key", "nodes/control0/apiserver.key", "admin.crt"] {
            let place = Place::full("kubenet");
            change(&place.at(name));
            let before = place.snapshot();
            for error in [place.pki().init(NOW).map(drop), place.pki().load(NOW).map(drop), place.pki().renew(&[], NOW).map(drop)] {
                let error = error.unwrap_err().to_string();
                assert!(error.contains(&format!("{} {what}", place.at(name).display())), "{error}");
            }
            assert_eq!(place.snapshot(), before, "{name}");
        }
    }
    for name in ["", "nodes", "nodes/worker0"] {
        let place = Place::full("kubenet");
        let path = place.pki().folder().join(name).components().collect::<PathBuf>();
        to_link(&path);
        let error = place.pki().init(NOW).unwrap_err().to_string();
        assert!(error.contains(&format!("{} is not a folder", path.display())), "{error}");
    }
    // The folder of all clusters may be elsewhere.
    let place = Place::full("one-node");
    to_link(&place.secrets());
    place.pki().load(NOW).unwrap();
}

pub(super) fn signer(place: &Place, name: &str) -> (Certificate, Key) {
    let key = Key::parse(&place.read(&format!("{name}.key")).into()).unwrap_or_else(|why| panic!("{why}"));
    (Certificate::parse(&place.read(&format!("{name}.crt"))).unwrap(), key)
}

#[test]
fn certificates_that_do_not_fit_are_named_with_the_difference() {
    let place = Place::full("kubenet");
    let (ca, ca_key) = signer(&place, "ca");
    let (etcd_ca, etcd_key) = signer(&place, "etcd-ca");
    let kubelet = place.pki().wanted().iter().find(|wanted| wanted.name.to_string() == "worker0/kubelet").unwrap().clone();
    let with = |change: fn(&mut Wanted)| {
        let mut wanted = kubelet.clone();
        change(&mut wanted);
        wanted
    };
    let cases = [
        (
            with(|wanted| wanted.common_name.push('x')),
            "has another subject: expected O=system:nodes, CN=system:node:worker0, found O=system:nodes, CN=system:node:worker0x",
        ),
        (with(|wanted| wanted.organization = None), "has another subject"),
        (with(|wanted| wanted.organization = Some("system:masters")), "found O=system:masters, CN="),
        (with(|wanted| (wanted.organization, wanted.common_name) = (None, "x, O=system:nodes".into())), "has another subject"),
        (with(|wanted| wanted.usage = Usage::Client), "has another use: expected server+client, found client"),
        (with(|wanted| _ = wanted.dns.remove("worker0")), "lacks the name `worker0`"),
        (with(|wanted| _ = wanted.dns.insert("worker9".into())), "has the name `worker9` that it should not have"),
        (with(|wanted| wanted.addresses.clear()), "lacks the address `192.168.3.14`"),
        (with(|wanted| _ = wanted.addresses.insert([10, 0, 0, 1].into())), "has the address `10.0.0.1` that it should not have"),
    ];
    let problem = |certificate: &Certificate, key: &Key| {
        place.put("nodes/worker0/kubelet.crt", &certificate.pem());
        place.put("nodes/worker0/kubelet.key", key.pem().expose_secret());
        let report = place.pki().init(NOW).unwrap();
        assert!(report.problems.iter().all(|problem| problem.remedy == "kbake pki renew worker0/kubelet"), "{report:?}");
        assert!(place.pki().load(NOW).is_err());
        report.problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>().join("\n")
    };
    let signed = |wanted: &Wanted, signer: Signer<'_>| {
        let key = Key::generate().unwrap();
        (issue::leaf(wanted, &key, signer, 100, NOW).unwrap(), key)
    };
    let ours = Signer { certificate: &ca, key: &ca_key };
    for (wanted, what) in cases {
        let (certificate, key) = signed(&wanted, ours);
        let found = problem(&certificate, &key);
        assert!(found.contains(what) && found.lines().count() == 1, "{what}: {found}");
    }
    let (certificate, key) = signed(&kubelet, Signer { certificate: &etcd_ca, key: &etcd_key });
    assert_eq!(problem(&certificate, &key), "is not issued by the present `ca`, but by CN=kubenet-etcd-ca");
    // Another authority of the very same name.
    let other = Place::full("kubenet");
    let (other_ca, other_key) = signer(&other, "ca");
    let (certificate, key) = signed(&kubelet, Signer { certificate: &other_ca, key: &other_key });
    assert_eq!(problem(&certificate, &key), "is not issued by the present `ca`, but by CN=kubenet-ca");
    let (certificate, _) = signed(&kubelet, ours);
    assert_eq!(problem(&certificate, &key), "has a key that does not belong to its certificate");
    let found = problem(&ca, &ca_key);
    assert!(found.contains("is an authority, and should be none") && found.contains("digitalSignature is missing"), "{found}");
    fs::remove_file(place.at("nodes/worker0/kubelet.key")).unwrap();
    let report = place.pki().init(NOW).unwrap();
    assert!(report.problems[0].what.contains("its key is missing"), "{report:?}");
    place.pki().renew(&["worker0/kubelet"], NOW).unwrap();
    place.pki().load(NOW).unwrap();
}

#[test]
fn an_exchanged_authority_is_found_out() {
    let (place, other) = (Place::full("kubenet"), Place::full("kubenet"));
    for name in ["ca.crt", "ca.key"] {
        place.put(name, &other.read(name));
    }
    let error = place.pki().load(NOW).unwrap_err().to_string();
    assert_eq!(error.matches("is not issued by the present `ca`").count(), 2 + 3 * 6 + 1 + 3 * 2, "{error}");
    // Only the key: all certificates would be signed by the wrong key.
    place.put("ca.crt", &Place::full("kubenet").read("ca.crt"));
    let error = place.pki().renew(&["admin"], NOW).unwrap_err().to_string();
    assert!(error.contains("the authority `ca` cannot sign\n  ca has a key that does not belong"), "{error}");
    // A certificate that is not an authority's.
    place.put("ca.crt", &place.read("admin.crt"));
    place.put("ca.key", &place.read("admin.key"));
    let error = place.pki().load(NOW).unwrap_err().to_string();
    assert!(error.contains("ca is not an authority: its certificate may not sign others"), "{error}");
}

#[test]
fn damage_of_any_kind_is_no_panic_and_no_success() {
    let place = Place::full("two-node");
    for name in ["ca.crt", "ca.key", "sa.key", "sa.pub", "encryption.key", "admin.crt", "admin.key"] {
        let good = place.read(name);
        let mut bad: Vec<String> = (0..good.len() - 1).step_by(13).map(|end| good[..end].to_owned()).collect();
        // Any 32 bytes are a valid encryption key; all else is detected by signatures and the public half in a key.
        let flips = if name == "encryption.key" { 0 } else { good.len() - 30 };
        bad.extend((0..flips).step_by(11).map(|at| {
            let other = if &good[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &good[..at], &good[at + 1..])
        }));
        bad.extend([good.replace('-', "="), format!("{good}{good}"), good.replace("BEGIN ", "BEGIN X "), "\0".repeat(200)]);
        for text in bad {
            place.put(name, &text);
            let before = place.snapshot();
            // Empty lines of the PEM may disappear; the content is the same then.
            if let Ok(secrets) = place.pki().load(NOW) {
                let all = [secrets.admin().certificate(), secrets.authority(Authority::Cluster), secrets.service_account_public()];
                assert!(all.contains(&good.as_str()) || text.trim_end() == good.trim_end(), "{name}: {text}");
            }
            place.pki().show(NOW).unwrap();
            if let Ok(report) = place.pki().init(NOW) {
                assert_eq!(report.made, [""; 0], "{name}");
            }
            assert_eq!(place.snapshot(), before, "{name}: what is broken is left for a person to see");
        }
        place.put(name, &good);
        place.pki().load(NOW).unwrap();
    }
}

#[test]
fn a_certificate_with_any_byte_changed_is_read_and_used_without_panic() {
    let place = Place::full("one-node");
    let (ca, key) = signer(&place, "ca");
    let (admin, _) = signer(&place, "admin");
    let wanted = place.pki().wanted().iter().find(|wanted| wanted.name == Name::Admin).unwrap().clone();
    let (mut read, mut taken) = (0, Vec::new());
    for at in 0..ca.der.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut der = ca.der.clone();
            der[at] ^= flip;
            let Ok(changed) = Certificate::from_der(&der) else { continue };
            read += 1;
            // Not even the owner of the key can make kbake panic; anybody else's certificate is refused.
            let _ = issue::leaf(&wanted, &Key::generate().unwrap(), Signer { certificate: &changed, key: &key }, 1, NOW);
            if check::authority(&changed, Some(&key)).is_empty() {
                taken.push(format!("byte {at} {:x} -> {:x}", ca.der[at], der[at]));
            }
            check::leaf(&wanted, &changed, Some(&key), Some(&ca));
            check::dates(&changed, NOW);
            assert!(!changed.subject_text().chars().any(char::is_control));
        }
    }
    assert!(read > 500, "{read}");
    assert_eq!(taken, [""; 0], "{}", ca.der.len());
    for at in 0..admin.der.len() {
        let mut der = admin.der.clone();
        der[at] ^= 0x01;
        let same = Certificate::from_der(&der).is_ok_and(|changed| check::leaf(&wanted, &changed, None, Some(&ca)).is_empty());
        assert!(!same, "byte {at}");
    }
}

#[test]
fn no_message_holds_a_part_of_a_key() {
    const CANARY: &str = "CANARYxyzzyPLUGH0123456789";
    let place = Place::full("kubenet");
    // The private number ends in the second line; the public key follows, which certificates contain, too.
    let lines = |text: &str| {
        let body = text.lines().filter(|line| line.len() > 30 && !line.starts_with('-'));
        body.take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    for name in ["ca.key", "sa.key", "encryption.key", "nodes/control0/apiserver.key"] {
        let good = place.read(name);
        let broken = [
            good.clone(),
            CANARY.to_owned(),
            format!("{CANARY}\n{good}"),
            format!("{good}{CANARY}\n"),
            good.replacen("PRIVATE KEY", CANARY, 1),
            good.replace("PRIVATE KEY", CANARY),
            good.replace("PRIVATE KEY", &format!("{CANARY} PRIVATE KEY")),
            good.replacen('\n', &format!("\n{CANARY}\n"), 1),
            good.replacen('\n', &format!("\nProc-Type: 4,{CANARY}\n"), 1),
            format!("-----BEGIN PRIVATE KEY-----\n{CANARY}AA\n-----END PRIVATE KEY-----\n"),
            format!("-----BEGIN EC PRIVATE KEY-----\n{CANARY}AA\n-----END EC PRIVATE KEY-----\n"),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{CANARY}AA\n-----END {CANARY}-----\n"),
            format!("-----BEGIN CERTIFICATE-----\n{CANARY}AA\n-----END CERTIFICATE-----\n"),
            format!("\u{feff}{CANARY}"),
        ];
        for text in broken {
            place.put(name, &text);
            let said = said(&place);
            assert!(!said.contains(CANARY), "{name}: {said}");
            for line in lines(&good).into_iter().chain(lines(&text)) {
                assert!(!said.contains(&line), "{name}");
            }
        }
        // A key in place of a certificate is not shown either.
        place.put(name, &good);
        let crt = "nodes/control0/apiserver.crt";
        place.put(crt, &format!("{CANARY}{good}"));
        let said = said(&place);
        assert!(!said.contains(CANARY) && lines(&good).iter().all(|line| !said.contains(line)), "{name}");
        assert!(place.pki().renew(&["control0/apiserver"], NOW).is_ok());
    }
    let secrets = place.pki().load(NOW).unwrap();
    let (debug, identity) = (format!("{secrets:?}"), format!("{:?}", secrets.admin()));
    for (path, (_, bytes, ..)) in place.snapshot() {
        if path.extension().is_some_and(|ending| ending == "key") {
            for line in lines(std::str::from_utf8(&bytes).unwrap()) {
                assert!(!debug.contains(&line) && !identity.contains(&line), "{}", path.display());
            }
        }
    }
}

#[test]
fn a_journal_that_kbake_has_not_written_is_no_renewal() {
    let place = Place::full("one-node");
    let journal = ".admin.renewal";
    let whole = format!("{}{}", place.read("admin.key"), place.read("etcd-admin.crt"));
    for text in ["", "x", &place.read("admin.key"), &place.read("admin.crt"), &whole] {
        place.put(journal, text);
        let before = place.snapshot();
        let error = place.pki().init(NOW).unwrap_err().to_string();
        assert!(error.contains("is not a certificate and key that kbake wrote") && error.contains("hint: rm "), "{error}");
        assert!(place.pki().load(NOW).is_err());
        assert_eq!(place.snapshot(), before);
    }
    fs::remove_file(place.at(journal)).unwrap();
    symlink(place.at("ca.key"), place.at(journal)).unwrap();
    assert!(place.pki().init(NOW).unwrap_err().to_string().contains("is not a regular file"));
}
