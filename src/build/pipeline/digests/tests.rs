//! A large file is not read again while nothing can have written to it, and is read again whenever something may have.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::common::report::Silent;
use crate::common::value::Cancel;
use crate::storage::fetch::Options;
use crate::storage::store::Access;
use crate::storage::store::inventory::Moment;

/// Larger than files that are kept in memory.
const LARGE: usize = (1 << 20) + 1;
/// A delay after a change that lets the clock tick.
const LATER: Moment = 3600;

/// A project whose role `etcd` has a large file, and a store.
struct Site(tempfile::TempDir);

fn now() -> Moment {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as Moment
}

impl Site {
    fn new() -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        let folder = site.0.path().join("project");
        Project::init(&folder).unwrap();
        let role = folder.join("recipes/roles/etcd.toml");
        let entry = "\n[[file]]\npath = \"/opt/large\"\nsource = \"large\"\n";
        fs::write(&role, fs::read_to_string(&role).unwrap() + entry).unwrap();
        fs::write(site.large(), vec![b'a'; LARGE]).unwrap();
        site
    }

    fn large(&self) -> PathBuf {
        self.0.path().join("project/recipes/large")
    }

    /// The digest that the plan of `etcd` has for the file, in a command that starts at `start`.
    fn digest_at(&self, start: Option<Moment>) -> Sha256 {
        let cancel = Cancel::new();
        let store = Store::open(&self.0.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
        let store = match start {
            Some(start) => store.marking_use(start),
            None => store,
        };
        let none = |_: &crate::spec::recipe::Archive| Ok(Vec::new());
        let bake = Bake { store: &store, fetch: Options::default(), host_mirrors: &none, jobs: 2, report: &Silent, cancel: &cancel };
        let project = Project::Folder(self.0.path().join("project"));
        let channel = project.channel("debian").unwrap();
        let resolved = bake.resolve_one(&project, &channel, &"etcd".parse().unwrap()).unwrap();
        assert_eq!(resolved.sources.len(), 1);
        resolved.sources[0].digest
    }

    fn digest(&self) -> Sha256 {
        self.digest_at(Some(now() + LATER))
    }

    fn stamps(&self) -> Vec<PathBuf> {
        fs::read_dir(self.0.path().join("store/stamps")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Puts a wrong digest into the digest cache, to show whether the cache is used.
    fn lie(&self) -> Sha256 {
        let lie = Sha256::of(b"a lie");
        let [stamp] = &self.stamps()[..] else { panic!("{:?}", self.stamps()) };
        let text = fs::read_to_string(stamp).unwrap();
        fs::write(stamp, text.replace(&self.truth().to_string(), &lie.to_string())).unwrap();
        lie
    }

    fn truth(&self) -> Sha256 {
        Sha256::of(fs::read(self.large()).unwrap())
    }
}

#[test]
fn a_file_that_did_not_change_is_read_once() {
    let site = Site::new();
    assert_eq!(site.digest(), site.truth());
    let lie = site.lie();
    assert_eq!(site.digest(), lie, "the store was not asked");
}

#[test]
fn every_change_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("other bytes, the size and the times as before", |path| {
            let times = fs::metadata(path).unwrap();
            fs::write(path, vec![b'b'; LARGE]).unwrap();
            let times = fs::FileTimes::new().set_modified(times.modified().unwrap()).set_accessed(times.accessed().unwrap());
            File::options().write(true).open(path).unwrap().set_times(times).unwrap();
        }),
        ("another file under the name, with the same size and times", |path| {
            let modified = fs::metadata(path).unwrap().modified().unwrap();
            let other = path.with_extension("new");
            fs::write(&other, vec![b'b'; LARGE]).unwrap();
            File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
            fs::rename(other, path).unwrap();
        }),
        ("a link in its place", |path| {
            let other = path.with_extension("new");
            fs::write(&other, vec![b'b'; LARGE]).unwrap();
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(other, path).unwrap();
        }),
        ("more bytes", |path| fs::write(path, vec![b'a'; LARGE + 1]).unwrap()),
        ("only the time", |path| File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap()),
        ("only the mode", |path| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }),
    ];
    for (name, change) in changes {
        let site = Site::new();
        site.digest();
        let lie = site.lie();
        // At least one tick of the clock later, as in a real change of a settled file.
        std::thread::sleep(Duration::from_millis(20));
        change(&site.large());
        assert_eq!(site.digest(), site.truth(), "{name}");
        assert_ne!(site.digest(), lie, "{name}");
    }
}

#[test]
fn a_file_changed_just_before_the_command_is_not_cached() {
    let site = Site::new();
    // A change in the same tick as the read leaves the stamp as it is.
    for start in [Some(now()), Some(now() - LATER), None] {
        assert_eq!(site.digest_at(start), site.truth());
        assert_eq!(site.stamps(), Vec::<PathBuf>::new(), "{start:?}");
    }
}

#[test]
fn a_memory_that_is_damaged_or_cannot_be_written_is_none() {
    let site = Site::new();
    site.digest();
    let [stamp] = &site.stamps()[..] else { panic!("one file, one stamp") };
    let good = fs::read_to_string(stamp).unwrap();
    for bad in ["", "{", "[]", &good.replace("\"digest\":\"", "\"digest\":\"x"), &good.replace("large\"", "other\"")] {
        fs::write(stamp, bad).unwrap();
        assert_eq!(site.digest(), site.truth(), "{bad}");
        assert_eq!(fs::read_to_string(stamp).unwrap(), good, "it is written again");
    }
    fs::remove_file(stamp).unwrap();
    fs::create_dir(stamp).unwrap();
    assert_eq!(site.digest(), site.truth());
}

#[test]
fn a_link_that_comes_to_lead_elsewhere_is_followed() {
    let site = Site::new();
    let files = ["one", "two"].map(|name| site.0.path().join("project").join(name));
    let mut digests = Vec::new();
    for (file, byte) in files.iter().zip([b'1', b'2']) {
        fs::write(file, vec![byte; LARGE]).unwrap();
    }
    for file in files.iter().chain(&files) {
        fs::remove_file(site.large()).unwrap();
        std::os::unix::fs::symlink(file, site.large()).unwrap();
        digests.push(site.digest());
        assert_eq!(digests.last(), Some(&site.truth()));
    }
    assert_eq!(site.stamps().len(), 2);
}

#[test]
fn a_file_that_is_gone_is_missed_as_ever() {
    let site = Site::new();
    site.digest();
    let cancel = Cancel::new();
    let store = Store::open(&site.0.path().join("store"), Access::Shared, &cancel, &|| {}).unwrap();
    let digests = FileDigests { store: &store, cancel: &cancel, jobs: 1, found: Mutex::default(), read: Mutex::default() };
    let typed = OwnPath::Typed(site.large());
    assert!(digests.of(&typed).unwrap().is_some());
    fs::remove_file(site.large()).unwrap();
    assert!(digests.of(&typed).unwrap().is_some(), "one command sees one state");
    assert_eq!(digests.of(&OwnPath::Typed(site.large().with_extension("other"))).unwrap(), None);
}

#[test]
fn a_source_that_a_link_leads_out_of_the_project_is_never_read() {
    let site = Site::new();
    let token = site.0.path().join("token");
    let project = Project::Folder(site.0.path().join("project"));
    let channel = project.channel("debian").unwrap();
    for size in [7, LARGE] {
        fs::write(&token, vec![b't'; size]).unwrap();
        fs::remove_file(site.large()).unwrap();
        std::os::unix::fs::symlink(&token, site.large()).unwrap();
        let error = crate::build::resolve(&project, &channel, &"etcd".parse().unwrap(), &Cancel::new()).unwrap_err();
        assert!(error.message().contains("recipes/large is outside the project's folder"), "{error}");
    }
}
