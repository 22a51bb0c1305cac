//! Locked sources → the targets to ask, in order.

use reqwest::Url;

use super::address::{Unusable, WEB_SCHEMES, parse};
use super::login::NamedBy;
use super::target::{Route, Target};
use super::{Options, Source, Want, registry};

/// Schemes allowed for mirrors, which the user or the host chose.
const MIRROR_SCHEMES: [&str; 3] = ["http", "https", "file"];

/// The targets for `want`, in order.
pub(super) fn targets(want: &Want, options: &Options) -> Vec<Result<Target, Unusable>> {
    match &want.source {
        Source::Pool(path) => {
            let below = |base: &String| format!("{}/{}", base.trim_end_matches('/'), escape_path(path));
            let target = |url| Target::of(url, NamedBy::User, Route::Apt, options);
            options.mirrors.iter().map(|base| parse(&below(base), &MIRROR_SCHEMES).map(target)).collect()
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
        Source::Pool(_) => true,
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

    fn asked(source: Source, options: &Options) -> Vec<String> {
        let want = Want { name: "x".to_owned(), source, digest: Sha256::of(b"").into(), size: None };
        let shown =
            |target: Result<Target, Unusable>| target.map_or_else(|(at, why)| format!("{at}: {why}"), |target| target.url.to_string());
        targets(&want, options).into_iter().map(shown).collect()
    }

    #[test]
    fn pool_paths_go_below_each_mirror() {
        let options = Options { mirrors: vec!["http://a.test/debian/".to_owned(), "https://b.test".to_owned()], ..Options::default() };
        let found = asked(Source::Pool("pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb".to_owned()), &options);
        assert_eq!(
            found,
            ["http://a.test/debian/pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb", "https://b.test/pool/main/g/gcc/g++_1.0~rc+b1_amd64.deb"]
        );
        let found = asked(Source::Pool("pool/a%3a?b#c".to_owned()), &options);
        assert_eq!(found[1], "https://b.test/pool/a%253a%3Fb%23c");
        let options = Options { mirrors: ["file:/srv/d", "file://nas/d", "ftp://f.test/"].map(str::to_owned).into(), ..Options::default() };
        let found = asked(Source::Pool("pool/a".to_owned()), &options);
        assert_eq!(found[0], "file:///srv/d/pool/a");
        assert_eq!(found[1], "file://nas/d/pool/a: names a host, but only local files can be read");
        assert_eq!(found[2], "ftp://f.test/pool/a: only http and https and file are supported, not ftp");
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
