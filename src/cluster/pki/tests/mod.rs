mod attack;
mod crash;
mod earlier;
mod import;
mod openssl;
mod steps;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::*;
use crate::cluster::testing::{EXAMPLES, example};
use crate::common::testing::{golden, goldens};

/// The clock of the tests: 2027-01-15.
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// A cluster's folder, removed with the test.
struct Place {
    dir: tempfile::TempDir,
    cluster: Cluster,
}

impl Place {
    fn empty(name: &str) -> Place {
        Place { dir: tempfile::tempdir().unwrap(), cluster: example(name) }
    }

    /// The folder with everything made.
    fn full(name: &str) -> Place {
        let place = Place::empty(name);
        place.pki().init(NOW).unwrap();
        place
    }

    fn secrets(&self) -> PathBuf {
        self.dir.path().join("secrets")
    }

    fn pki(&self) -> Pki {
        Pki::new(&self.secrets(), &self.cluster)
    }

    /// The path of a file of the cluster's.
    fn at(&self, name: &str) -> PathBuf {
        self.pki().folder().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    /// Writes `text` to a private file, replacing an existing one.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Every file and folder with its mode, its bytes, and its time of last change.
    fn snapshot(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>, i64, i64)> {
        files(&self.secrets())
    }
}

fn files(path: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>, i64, i64)> {
    let mut all = BTreeMap::new();
    let meta = fs::symlink_metadata(path).unwrap();
    let bytes = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    all.insert(path.to_owned(), (meta.mode() & 0o7777, bytes, meta.ctime(), meta.ctime_nsec()));
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(files(&entry.unwrap().path()));
        }
    }
    all
}

/// The certificates as lines for a person: issuer, subject, purpose and names.
fn text(wanted: &[Wanted]) -> String {
    let line = |want: &Wanted| {
        let group = want.organization.map(|group| format!("O={group}, ")).unwrap_or_default();
        let names = want.dns.iter().cloned().chain(want.addresses.iter().map(IpAddr::to_string));
        let names: String = names.map(|name| format!(" {name}")).collect();
        format!("{} {} {group}CN={} {}{names}\n", want.name, want.issuer.name(), want.common_name, want.usage)
    };
    wanted.iter().map(line).collect()
}

#[test]
fn the_tables_are_as_recorded() {
    goldens(EXAMPLES.map(|name| (format!("pki/{name}.txt"), text(&wanted(&example(name))))));
}

#[test]
fn no_two_certificates_have_one_name_and_each_is_found_by_its_name() {
    for name in ["kubenet", "etcd", "one-node"] {
        let all = wanted(&example(name));
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name), "{name}");
        let texts: std::collections::BTreeSet<String> = all.iter().map(|wanted| wanted.name.to_string()).collect();
        assert_eq!(texts.len(), all.len(), "{name}");
    }
}

#[test]
fn the_files_are_as_recorded_and_private() {
    let place = Place::full("kubenet");
    let root = place.secrets();
    let mut names = Vec::new();
    for (path, (mode, ..)) in place.snapshot() {
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        names.push(format!("{}\n", path.strip_prefix(&root).unwrap().display()));
    }
    golden("pki/kubenet-files.txt", &names.concat());
    assert_eq!(fs::read_to_string(root.join(".gitignore")).unwrap(), "*\n");
}

#[test]
fn base64_and_pem_round_trip() {
    use secrecy::ExposeSecret as _;
    for size in 0..200 {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 37 + size) as u8).collect();
        let text = pem::to_base64(&bytes);
        assert_eq!(pem::from_base64(&text).unwrap().expose_secret(), bytes, "{size}");
        let written = pem::public("KIND", &bytes);
        let blocks = pem::blocks(&written).unwrap();
        assert_eq!((blocks.len(), blocks[0].label, blocks[0].der.expose_secret()), (1, "KIND", bytes.as_slice()), "{size}");
    }
    assert_eq!(pem::to_base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
    for bad in ["A", "AA", "AAA", "A===", "AB==", "AAB=", "AA=A", "AAAA====", "AA AA", "AAA\n", "====", "Ä==="] {
        assert!(pem::from_base64(bad).is_none(), "{bad}");
    }
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, text) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (NOW, "2027-01-15"), (253_402_300_799, "9999-12-31")] {
        assert_eq!(date(seconds), text);
    }
    assert_eq!(date(i64::MAX), "(no date)");
}
