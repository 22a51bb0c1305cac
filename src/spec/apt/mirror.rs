//! The mirrors in the host's own apt configuration.

use std::path::{Path, PathBuf};

use crate::common::fsx;
use crate::common::value::Cancel;
use crate::{Error, Result};

use super::host::{Host, run};

/// The mirrors of the host that may carry `suite`, the likeliest first, each ending with a slash. The host's apt answers from
/// its configuration alone, in either of its formats: `apt-get update` need never have been run. Empty if none is configured.
/// Only `http`, `https` and `file`; a `mirror+file` list is read.
///
/// # Errors
/// apt is missing, or cannot read its own configuration.
pub(crate) fn host_mirrors(host: &Host, suite: &str, cancel: &Cancel) -> Result<Vec<String>> {
    let configured = targets(host, cancel)?;
    let lists = lists(host, cancel)?;
    let vendor = vendor_of(&fsx::read_if_present(VENDOR.as_ref())?.unwrap_or_default());
    let origins = |uri: &str| -> Vec<String> {
        configured.iter().filter(|target| target.uri == uri).filter_map(|target| target.origin(&lists)).collect()
    };
    let mut ranked: Vec<(u8, String)> = Vec::new();
    for target in &configured {
        let Some(rank) = target.rank(suite) else { continue };
        if is_strange(&origins(&target.uri), rank, vendor.as_deref()) {
            continue;
        }
        ranked.extend(expand(&target.uri)?.into_iter().map(|uri| (rank, uri)));
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

/// The file in which dpkg names this distribution's vendor (deb-origin(5)).
const VENDOR: &str = "/etc/dpkg/origins/default";

fn vendor_of(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().find_map(|line| line.strip_prefix("Vendor:")).map(|vendor| vendor.trim().to_owned())
}

/// True for an archive of another vendor than Debian. Its origin is known only after an update. Before that, on another
/// distribution than Debian, the archive counts as that distribution's, unless it names the very suite.
fn is_strange(origins: &[String], rank: u8, vendor: Option<&str>) -> bool {
    match origins {
        [] => rank > 0 && vendor.is_some_and(|vendor| vendor != "Debian"),
        origins => origins.iter().any(|origin| origin != "Debian"),
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
    /// The likelihood that it carries `suite`: 0 if it names it, 1 if it carries another release of the same shape. None for
    /// archives of updates and security fixes, of other components, and flat ones.
    fn rank(&self, suite: &str) -> Option<u8> {
        if self.component != "main" {
            return None;
        }
        if self.release == suite {
            return Some(0);
        }
        (!self.release.is_empty() && self.release.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())).then_some(1)
    }

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
        let ranks: Vec<_> = targets.iter().map(|target| target.rank("bookworm")).collect();
        assert_eq!(ranks, [Some(0), None, Some(1), None, None]);
        let stems: Vec<_> = targets.iter().map(|target| target.stem.as_deref()).collect();
        assert_eq!(stems, [Some("a.invalid_debian_dists_bookworm_"), None, None, Some("d.invalid_._"), None]);
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
        for (origins, rank, vendor, strange) in [
            (debian(), 1, Some("Ubuntu"), false),
            (vec!["Ubuntu".to_owned()], 0, Some("Ubuntu"), true),
            (vec![], 1, Some("Ubuntu"), true),
            (vec![], 0, Some("Ubuntu"), false),
            (vec![], 1, Some("Debian"), false),
            (vec![], 1, None, false),
        ] {
            assert_eq!(is_strange(&origins, rank, vendor), strange, "{origins:?} {rank} {vendor:?}");
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
