//! Locked sources → the targets to ask, in order.

use reqwest::Url;

use crate::common::value::Mirror;

use super::address::{Unusable, WEB_SCHEMES, parse};
use super::login::NamedBy;
use super::target::{Route, Target};
use super::{Options, Source, Want, registry};

/// Schemes allowed for mirrors, which the user or the host chose.
const MIRROR_SCHEMES: [&str; 3] = ["http", "https", "file"];

/// The targets for `want`, in order.
pub(super) fn targets(want: &Want, options: &Options) -> Vec<Result<Target, Unusable>> {
    match &want.source {
        Source::Pool { archive, path } => {
            let below = |mirror: &Mirror| format!("{}/{}", mirror.base.trim_end_matches('/'), escape_path(path));
            let target = |url| Target::of(url, NamedBy::User, Route::Apt, options);
            let having = |mirrors: &'_ [Mirror]| mirrors.iter().filter(|mirror| mirror.may_have(archive)).map(below).collect::<Vec<_>>();
            let mirrors = having(&options.mirrors).into_iter().map(|text| parse(&text, &MIRROR_SCHEMES).map(target));
            mirrors.chain(having(&options.snapshots).iter().flat_map(|text| web_targets(text, options))).collect()
        }
        Source::Urls(urls) => urls.iter().flat_map(|url| web_targets(url, options)).collect(),
        Source::Registry { reference, kind } => registry::targets(reference, *kind, &want.digest.to_string(), options),
    }
}

/// The targets for an address of a lockfile or of the sources: the address itself, or its replacements.
pub(super) fn web_targets(text: &str, options: &Options) -> Vec<Result<Target, Unusable>> {
    // Parsed (and normalised) before it is rewritten, so that no `..` can leave a mirror's folder.
    let url = match parse(text, &WEB_SCHEMES) {
        Ok(url) => url,
        Err(unusable) => return vec![Err(unusable)],
    };
    let fitting = replaced(&url, options);
    if fitting.is_empty() {
        return vec![Ok(Target::of(url, NamedBy::Lockfile, Route::Web, options))];
    }
    fitting.iter().map(|text| parse(text, &MIRROR_SCHEMES).map(|url| Target::of(url, NamedBy::User, Route::Web, options))).collect()
}

/// The replacements of an address; empty if no rewrite matches.
fn replaced(url: &Url, options: &Options) -> Vec<String> {
    let one = |(prefix, new): &(String, String)| url.as_str().strip_prefix(prefix.as_str()).map(|rest| format!("{new}{rest}"));
    options.rewrites.iter().filter_map(one).collect()
}

/// True if a rewrite matches: apt's logins apply to rewritten addresses too.
pub(super) fn is_rewritten(text: &str, options: &Options) -> bool {
    Url::parse(text).is_ok_and(|url| !replaced(&url, options).is_empty())
}

/// True if apt's settings are needed for `want`.
pub(super) fn concerns_apt(want: &Want, options: &Options) -> bool {
    match &want.source {
        Source::Pool { .. } => true,
        Source::Urls(urls) => urls.iter().any(|url| is_rewritten(url, options)),
        Source::Registry { .. } => false,
    }
}

/// Escapes characters of a file name that have a meaning in an address.
fn escape_path(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::value::Sha256;

    fn pool(archive: &str, path: &str) -> Source {
        Source::Pool { archive: archive.to_owned(), path: path.to_owned() }
    }

    fn asked(source: Source, options: &Options) -> Vec<String> {
        let want = Want { name: "x".to_owned(), source, digest: Sha256::of(b"").into(), size: None };
        let shown =
            |target: Result<Target, Unusable>| target.map_or_else(|(at, why)| format!("{at}: {why}"), |target| target.url.to_string());
        targets(&want, options).into_iter().map(shown).collect()
    }

    #[test]
    fn pool_paths_go_below_each_mirror() {
        let options = Options { mirrors: vec!["http://a.test/debian/".into(), "https://b.test".into()], ..Options::default() };
        let found = asked(pool("debian", "pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb"), &options);
        assert_eq!(
            found,
            ["http://a.test/debian/pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb", "https://b.test/pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb"]
        );
        let found = asked(pool("debian", "pool/a%3a?b#c"), &options);
        assert_eq!(found[1], "https://b.test/pool/a%253a%3Fb%23c");
        let options = Options { mirrors: ["file:/srv/d", "file://nas/d", "ftp://f.test/"].map(Mirror::from).into(), ..Options::default() };
        let found = asked(pool("debian", "pool/a"), &options);
        assert_eq!(found[0], "file:///srv/d/pool/a");
        assert_eq!(found[1], "file://nas/d/pool/a: names a host, but only local files can be read");
        assert_eq!(found[2], "ftp://f.test/pool/a: only http and https and file are supported, not ftp");
    }

    #[test]
    fn mirrors_of_another_archive_are_not_asked_and_snapshots_come_last() {
        let options = Options {
            mirrors: vec![
                Mirror::of("security", "http://s.test/security"),
                "http://any.test".into(),
                Mirror::of("debian", "http://d.test"),
            ],
            snapshots: vec![Mirror::of("debian", "https://past.test/debian/1/"), Mirror::of("security", "https://past.test/security/1/")],
            rewrites: vec![("https://past.test/debian/".to_owned(), "http://own.test/".to_owned())],
            ..Options::default()
        };
        let found = asked(pool("debian", "pool/a"), &options);
        assert_eq!(found, ["http://any.test/pool/a", "http://d.test/pool/a", "http://own.test/1/pool/a"]);
        let found = asked(pool("security", "pool/a"), &options);
        assert_eq!(found, ["http://s.test/security/pool/a", "http://any.test/pool/a", "https://past.test/security/1/pool/a"]);
        let nobody = Want { name: "x".to_owned(), source: pool("other", "pool/a"), digest: Sha256::of(b"").into(), size: None };
        let options = Options { mirrors: vec![Mirror::of("debian", "http://d.test")], snapshots: Vec::new(), ..options };
        assert!(
            options.is_without_mirror(&nobody)
                && !Options { mirrors: vec!["http://any.test".into()], ..options }.is_without_mirror(&nobody)
        );
    }

    #[test]
    fn rewrites_never_fall_back_to_the_original() {
        let rewrites = [("https://up.test/", "http://one.test/up/"), ("https://up.test/k8s/", "http://two.test/"), ("https://other", "x")];
        let options = Options { rewrites: rewrites.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), ..Options::default() };
        let urls = Source::Urls(vec!["https://up.test/k8s/kubelet".to_owned(), "https://elsewhere.test/kubelet".to_owned()]);
        assert_eq!(asked(urls, &options), ["http://one.test/up/k8s/kubelet", "http://two.test/kubelet", "https://elsewhere.test/kubelet"]);
    }

    #[test]
    fn other_schemes_and_invalid_addresses_are_refused() {
        let urls = ["file:///etc/passwd", "ftp://u:secret@h.test/x", "no url:secret@"].map(str::to_owned).into();
        let found = asked(Source::Urls(urls), &Options::default());
        assert_eq!(found[0], "file:///etc/passwd: only http and https are supported, not file");
        assert!(found[2].contains("cannot be parsed"), "{found:?}");
        assert!(!found.concat().contains("secret"), "{found:?}");
    }
}
