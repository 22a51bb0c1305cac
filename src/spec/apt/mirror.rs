//! The mirrors in the host's own apt configuration.

use std::path::{Path, PathBuf};

use crate::common::fsx;
use crate::common::value::Cancel;
use crate::{Error, Result};

use super::host::{Host, run};
use crate::spec::recipe::Archive;

/// The mirrors of the host that may have `archive`, the likeliest first, each ending with a slash. The host's apt answers from
/// its configuration alone, in either of its formats: `apt-get update` need never have been run. Empty if none is configured.
/// Only `http`, `https` and `file`; a `mirror+file` list is read.
///
/// # Errors
/// apt is missing, or cannot read its own configuration.
pub(crate) fn host_mirrors(host: &Host, archive: &Archive, cancel: &Cancel) -> Result<Vec<String>> {
    let configured = targets(host, cancel)?;
    let lists = lists(host, cancel)?;
    let vendor = vendor_of(&fsx::read_if_present(VENDOR.as_ref())?.unwrap_or_default());
    let origins = |uri: &str| -> Vec<String> {
        configured.iter().filter(|target| target.uri == uri).filter_map(|target| target.origin(&lists)).collect()
    };
    let mut ranked: Vec<(Rank, String)> = Vec::new();
    for target in configured.iter().filter(|target| target.component == "main") {
        let rank = rank(&target.release, archive);
        if is_strange(&origins(&target.uri), rank, vendor.as_deref(), archive.origin.as_deref()) {
            continue;
        }
        let uris = expand(&target.uri)?;
        ranked.extend(uris.iter().filter_map(|uri| beside(uri, archive)).map(|uri| (Rank::Beside, uri)));
        if let Some(rank) = rank {
            ranked.extend(uris.into_iter().map(|uri| (rank, uri)));
        }
    }
    // Stable: equal ranks stay in apt's own order.
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut mirrors: Vec<String> = Vec::new();
    for (_, uri) in ranked {
        if !mirrors.contains(&uri) {
            mirrors.push(uri);
        }
    }
    Ok(mirrors)
}

/// The likelihood that an archive of the host's configuration is the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It names one of the suites.
    Named,
    /// It has another release of the same shape: `bookworm-security` for `trixie-security`.
    SameShape,
    /// The wanted archive is beside it, as far as the addresses of mirrors usually go.
    Beside,
}

/// The rank of an archive with the suite `release`; none for an archive of another kind, and for a flat one.
fn rank(release: &str, archive: &Archive) -> Option<Rank> {
    let is_plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let shape = |suite: &str| suite.split_once('-').map(|(_, kind)| kind.to_owned());
    if archive.suites.iter().any(|suite| suite.as_str() == release) {
        return Some(Rank::Named);
    }
    let codename = release.split_once('-').map_or(release, |(codename, _)| codename);
    let fits = is_plain(codename) && archive.suites.iter().any(|suite| shape(suite.as_str()) == shape(release));
    fits.then_some(Rank::SameShape)
}

/// The address of the archive on a mirror that has another archive of the channel in a folder of its usual name.
fn beside(uri: &str, archive: &Archive) -> Option<String> {
    let (front, folder) = uri.trim_end_matches('/').rsplit_once('/')?;
    archive.others.iter().any(|other| other.as_str() == folder).then(|| format!("{front}/{}/", archive.name))
}

/// The file in which dpkg names this distribution's vendor (deb-origin(5)).
const VENDOR: &str = "/etc/dpkg/origins/default";

fn vendor_of(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find_map(|line| line.strip_prefix("Vendor:")).map(|vendor| vendor.trim().to_owned())
}

/// True for an archive of another origin than the wanted one. Its origin is known only after an update. Before that, on another
/// distribution than the wanted one, the archive counts as that distribution's, unless it names the very suite.
fn is_strange(origins: &[String], rank: Option<Rank>, vendor: Option<&str>, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return false };
    match origins {
        [] => rank != Some(Rank::Named) && vendor.is_some_and(|vendor| vendor != wanted),
        origins => origins.iter().any(|origin| origin != wanted),
    }
}

/// A mirror's address for display, without a password.
pub(crate) fn shown(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit_once('@').map_or(authority, |(_, host)| host))
        }
        None => uri.to_owned(),
    }
}

/// A `Packages` index in the host's apt configuration.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    uri: String,
    release: String,
    component: String,
    /// The prefix of the release files' names in the folder of lists.
    stem: Option<String>,
}

impl Target {
    /// Its origin, from the release file among the `lists` of the host's last update, if there was one.
    fn origin(&self, lists: &Path) -> Option<String> {
        let stem = self.stem.as_ref()?;
        let text = |name| fsx::read_if_present(&lists.join(format!("{stem}{name}"))).ok().flatten();
        origin_of(&String::from_utf8_lossy(&text("InRelease").or_else(|| text("Release"))?))
    }
}

/// The [origin](https://wiki.debian.org/DebianRepository/Format#Origin) that a release file names.
fn origin_of(release: &str) -> Option<String> {
    release.lines().find_map(|line| line.strip_prefix("Origin:")).map(|origin| origin.trim().to_owned())
}

const FORMAT: &str = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(METAKEY)\t$(FILENAME)";

/// A folder without lists. With the host's own lists apt reads all package indexes first, which takes twenty times as long.
const NO_LISTS: &str = "/nonexistent/";

/// The folder of the host's lists.
fn lists(host: &Host, cancel: &Cancel) -> Result<PathBuf> {
    let mut command = host.command("apt-config");
    command.args(["shell", "LISTS", "Dir::State::Lists/d"]);
    let text = run(command, cancel)?.stdout;
    let path = text.trim().strip_prefix("LISTS='").and_then(|rest| rest.strip_suffix('\''));
    // Without such a folder the origins are unknown.
    Ok(path.filter(|path| path.starts_with('/')).unwrap_or(NO_LISTS).into())
}

fn targets(host: &Host, cancel: &Cancel) -> Result<Vec<Target>> {
    let mut command = host.command("apt-get");
    command.args(["indextargets", "--no-release-info", "-o", &format!("Dir::State::Lists={NO_LISTS}")]);
    command.args(["--format", FORMAT, "Created-By: Packages", "Target-Of: deb"]);
    let output = run(command, cancel)?;
    if !output.success {
        let error = Error::user("the host's apt cannot read its own sources");
        return Err(output.complaint().into_iter().fold(error, Error::detail).hint("fix them, or name a mirror with `--mirror URL`"));
    }
    Ok(parse_targets(&output.stdout))
}

fn parse_targets(text: &str) -> Vec<Target> {
    let target = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let (uri, release, component) = (fields.next()?, fields.next()?, fields.next()?);
        let (key, file) = (fields.next()?, fields.next()?);
        let stem = file.strip_prefix(NO_LISTS).and_then(|name| name.strip_suffix(&key.replace('/', "_")));
        Some(Target { uri, release, component, stem: stem.map(str::to_owned) })
    };
    text.lines().filter_map(target).collect()
}

/// The usable addresses of a repository.
fn expand(uri: &str) -> Result<Vec<String>> {
    if let Some(file) = uri.strip_prefix("mirror+file:") {
        let file = format!("/{}", file.trim_matches('/'));
        let Some(list) = fsx::read_if_present(file.as_ref())? else { return Ok(Vec::new()) };
        return Ok(parse_mirror_list(&String::from_utf8_lossy(&list)));
    }
    Ok(usable(uri).into_iter().collect())
}

/// The addresses in a mirror list (apt-transport-mirror(1)): one per line, metadata after a tab.
fn parse_mirror_list(text: &str) -> Vec<String> {
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    words.filter(|word| !word.starts_with('#')).filter_map(usable).collect()
}

/// `uri` with one final slash, if kbake supports its scheme and no character could end a line of apt's configuration.
pub(crate) fn usable(uri: &str) -> Option<String> {
    let uri = uri.strip_prefix("copy:").map_or_else(|| uri.to_owned(), |path| format!("file:{path}"));
    let rest = ["http://", "https://", "file:/"].iter().find_map(|scheme| uri.strip_prefix(scheme))?;
    let sound = !rest.trim_matches('/').is_empty() && !uri.contains(|c: char| c.is_whitespace() || c.is_control() || "\"[]".contains(c));
    sound.then(|| format!("{}/", uri.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_parsed_and_ranked() {
        let text = "http://a.invalid/debian/\tbookworm\tmain\tmain/binary-amd64/Packages\t/nonexistent/a.invalid_debian_dists_bookworm_main_binary-amd64_Packages\n\
                    http://b.invalid/\tbookworm-security\tmain\tx\ty\nhttp://c.invalid/\ttrixie\tmain\t\t\n\
                    http://d.invalid/\t./\t\tPackages\t/nonexistent/d.invalid_._Packages\nhttp://e.invalid/\tbookworm\tcontrib\t\t\nbroken\n";
        let targets = parse_targets(text);
        let main = archive("debian", &["bookworm", "bookworm-updates"], &["debian-security"]);
        let ranks: Vec<_> = targets.iter().map(|target| rank(&target.release, &main)).collect();
        assert_eq!(ranks, [Some(Rank::Named), None, Some(Rank::SameShape), None, Some(Rank::Named)]);
        let security = archive("debian-security", &["trixie-security"], &["debian"]);
        let ranks: Vec<_> = targets.iter().map(|target| rank(&target.release, &security)).collect();
        assert_eq!(ranks, [None, Some(Rank::SameShape), None, None, None]);
        let stems: Vec<_> = targets.iter().map(|target| target.stem.as_deref()).collect();
        assert_eq!(stems, [Some("a.invalid_debian_dists_bookworm_"), None, None, Some("d.invalid_._"), None]);
    }

    fn archive(name: &str, suites: &[&str], others: &[&str]) -> Archive {
        let words = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
        Archive { name: name.parse().unwrap(), suites: words(suites), origin: Some("Debian".to_owned()), others: words(others) }
    }

    #[test]
    fn a_mirror_often_has_the_other_archives_in_folders_of_their_names() {
        let security = archive("debian-security", &["trixie-security"], &["debian"]);
        let found = [
            "http://a.invalid/debian/",
            "http://a.invalid/x/debian/",
            "http://a.invalid/ubuntu/",
            "http://debian.invalid/",
            "file:/debian/",
        ]
        .map(|uri| beside(uri, &security));
        let some = |uri: &str| Some(uri.to_owned());
        let expected = [
            some("http://a.invalid/debian-security/"),
            some("http://a.invalid/x/debian-security/"),
            None,
            None,
            some("file:/debian-security/"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn release_files_name_their_origin() {
        let signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nLabel: Debian\n";
        assert_eq!(origin_of(signed).as_deref(), Some("Debian"));
        assert_eq!(origin_of("Label: x\nOrigin:  A Stranger \n").as_deref(), Some("A Stranger"));
        assert_eq!(origin_of("Label: x\n"), None);
    }

    #[test]
    fn another_distribution_s_archive_is_no_mirror() {
        let debian = || vec!["Debian".to_owned()];
        let (named, other) = (Some(Rank::Named), Some(Rank::SameShape));
        for (origins, rank, vendor, strange) in [
            (debian(), other, Some("Ubuntu"), false),
            (vec!["Ubuntu".to_owned()], named, Some("Ubuntu"), true),
            (vec![], other, Some("Ubuntu"), true),
            (vec![], None, Some("Ubuntu"), true),
            (vec![], named, Some("Ubuntu"), false),
            (vec![], other, Some("Debian"), false),
            (vec![], other, None, false),
        ] {
            assert_eq!(is_strange(&origins, rank, vendor, Some("Debian")), strange, "{origins:?} {rank:?} {vendor:?}");
            assert!(!is_strange(&origins, rank, vendor, None), "a suite without an origin takes any");
        }
        assert_eq!(vendor_of(b"Vendor: Ubuntu\nVendor-URL: x\n").as_deref(), Some("Ubuntu"));
        assert_eq!(vendor_of(b""), None);
    }

    #[test]
    fn only_addresses_that_kbake_speaks() {
        let cases = [
            ("http://a.invalid/debian", Some("http://a.invalid/debian/")),
            ("https://u:p@a.invalid//", Some("https://u:p@a.invalid/")),
            ("copy:/srv/debian", Some("file:/srv/debian/")),
            ("file:///srv/debian/", Some("file:///srv/debian/")),
            ("cdrom:[Debian]/", None),
            ("tor+http://a.invalid/", None),
            ("http://", None),
            ("http://a.invalid/ bookworm", None),
            ("http://a.invalid/\nTrusted: yes", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(usable(uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn mirror_lists() {
        let text = "# first\nhttp://a.invalid/debian\tpriority:1 arch:amd64\n\nhttps://b.invalid/debian/\nftp://c.invalid/\n";
        assert_eq!(parse_mirror_list(text), ["http://a.invalid/debian/", "https://b.invalid/debian/"]);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://user:secret@a.invalid/d/"), "https://a.invalid/d/");
        assert_eq!(shown("http://a.invalid/@x"), "http://a.invalid/@x");
        assert_eq!(shown("file:/srv"), "file:/srv");
    }
}
