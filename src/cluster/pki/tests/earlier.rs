//! Folders of earlier versions.

use secrecy::ExposeSecret as _;

use super::super::init::Report;
use super::super::issue::{self, Signer};
use super::super::key::Key;
use super::attack::signer;
use super::*;

/// Writes the certificate, with a new key.
fn sign(place: &Place, wanted: &Wanted) {
    let (certificate, key) = signer(place, wanted.issuer.name());
    let own = Key::generate().unwrap();
    let signed = issue::leaf(wanted, &own, Signer { certificate: &certificate, key: &key }, 100, NOW).unwrap();
    let stem = place.pki().folder.stem(&wanted.name);
    let put = |ending: &str, text: &str| {
        place.put(stem.with_extension(ending).strip_prefix(place.pki().folder()).unwrap().to_str().unwrap(), text)
    };
    put("crt", &signed.pem());
    put("key", own.pem().expose_secret());
}

fn of_an_earlier_version(name: &str) -> Place {
    let place = Place::full(name);
    place.pki().wanted().iter().filter_map(Wanted::earlier).for_each(|earlier| sign(&place, &earlier));
    ["crt", "key"].iter().for_each(|ending| fs::remove_file(place.at(&format!("super-admin.{ending}"))).unwrap());
    place
}

#[test]
fn a_folder_of_an_earlier_version_is_completed_and_not_changed() {
    let place = of_an_earlier_version("kubenet");
    let before = place.snapshot();
    let secrets = place.pki().load(NOW).unwrap();
    assert!(secrets.super_admin().is_none(), "seeds are made without it");
    let warned: Vec<&str> = secrets.warnings().iter().map(|warning| warning.name.as_str()).collect();
    assert_eq!(warned, ["admin"]);
    let rows = place.pki().show(NOW).unwrap();
    let unusual: Vec<_> = rows.iter().filter(|row| row.state != State::Good).map(|row| (row.name.as_str(), row.optional)).collect();
    assert_eq!(unusual, [("admin", false), ("super-admin", true)]);

    let report = place.pki().init(NOW).unwrap();
    assert_eq!((&report.made[..], &report.problems[..]), (&["super-admin".to_owned()][..], &[][..]));
    assert!(
        report.warnings[0].what.contains("is in the group system:masters, whose permissions cannot be revoked before 2027-04-25"),
        "{report:?}"
    );
    assert!(report.warnings[0].remedy.ends_with("the ClusterRoleBinding kbake:cluster-admins: kbake pki renew admin"), "{report:?}");
    let after = place.snapshot();
    assert!(before.iter().filter(|(_, file)| file.0 == 0o600).all(|(path, file)| after[path].1 == file.1), "nothing else is touched");
    assert!(place.pki().load(NOW).unwrap().super_admin().is_some());

    place.pki().renew(&["admin"], NOW).unwrap();
    assert_eq!(place.pki().init(NOW).unwrap(), Report { kept: report.kept + 1, ..Report::default() });
}

/// An authority whose key is kept elsewhere signs nothing, and everything else works.
#[test]
fn a_folder_of_an_earlier_version_without_the_authoritys_key_works() {
    let place = of_an_earlier_version("kubenet");
    fs::remove_file(place.at("ca.key")).unwrap();
    let report = place.pki().init(NOW).unwrap();
    assert_eq!((report.made.len(), report.problems.len()), (0, 0));
    assert_eq!(report.notes, ["super-admin is not made: the key of `ca` is kept elsewhere"]);
    place.pki().load(NOW).unwrap();
}

/// Differences that earlier versions made are accepted, and no others.
#[test]
fn no_other_difference_is_an_earlier_version() {
    type Change = fn(&mut Wanted);
    let wrong: [(&str, Change); 5] = [
        ("admin", |wanted| wanted.organization = Some("system:nodes")),
        ("admin", |wanted| wanted.organization = None),
        ("worker0/kubelet", |wanted| wanted.organization = Some("system:masters")),
        ("control0/apiserver", |wanted| _ = wanted.addresses.remove(&[127, 0, 0, 1].into())),
        ("control0/etcd-server", |wanted| _ = wanted.dns.remove("localhost")),
    ];
    for (name, change) in wrong {
        let place = Place::full("kubenet");
        let mut wanted = place.pki().wanted().iter().find(|wanted| wanted.name.to_string() == name).unwrap().clone();
        change(&mut wanted);
        sign(&place, &wanted);
        let report = place.pki().init(NOW).unwrap();
        assert!(!report.problems.is_empty() && report.warnings.is_empty(), "{name}: {report:?}");
        assert_eq!(report.problems[0].remedy, format!("kbake pki renew {name}"));
    }
}
