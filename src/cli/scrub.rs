//! Addresses in messages lose what may be secret in them. Who writes a message shows addresses without it anyway; this is
//! for other people's words, as apt's, and for what was typed.

/// `text` with every address in it without user, password and query.
pub fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        let (authority, after) = after.split_at(after.find(|c| ends(c) || "/?#".contains(c)).unwrap_or(after.len()));
        out.push_str(before);
        out.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        let (path, behind) = after.split_at(after.find(|c| ends(c) || "?#".contains(c)).unwrap_or(after.len()));
        rest = after;
        // Another address may follow, as behind `=`.
        if path.contains("://") {
            continue;
        }
        out.push_str(path);
        let (query, behind) = behind.split_at(behind.find(ends).unwrap_or(behind.len()));
        // `?…` is how addresses are shown that had a query.
        out.push_str(if query.is_empty() || query.starts_with("?…") { query } else { "?…" });
        rest = behind;
    }
    out + rest
}

/// What no address has in it.
fn ends(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"`<>".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_what_may_be_secret() {
        for (text, shown) in [
            ("from http://me:hush@h.test/a/b: answered 404", "from http://h.test/a/b: answered 404"),
            ("`https://h.test:8443/a?sig=hush&x=1#f`, then", "`https://h.test:8443/a?…`, then"),
            ("--rewrite https://a.test/=https://me:hush@b.test/c", "--rewrite https://a.test/=https://b.test/c"),
            ("invalid value 'ftp://me:h@sh@f.test' for '--mirror <URL>'", "invalid value 'ftp://f.test' for '--mirror <URL>'"),
            ("http://hush@h.test?hush", "http://h.test?…"),
            ("(http://me:h,u;s'h@h.test/a?k=(h),u;sh \"x\"", "(http://h.test/a?… \"x\""),
            ("http://a.test/http://me:hush@b.test", "http://a.test/http://b.test"),
            ("redirected to https://h.test/b?…: likely", "redirected to https://h.test/b?…: likely"),
            ("http://h.test/@scope/x@1 and a@b", "http://h.test/@scope/x@1 and a@b"),
            ("file:///srv/a, https://h.test/b?…", "file:///srv/a, https://h.test/b?…"),
            ("is that so? no://", "is that so? no://"),
            ("", ""),
        ] {
            assert_eq!(scrub(text), shown);
            assert_eq!(scrub(shown), shown, "once is enough");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_password_stays(before in "[a-z ]{0,9}", user in "[a-z%0-9]{0,5}", path in "[a-z/]{0,9}", after in "[ a-z:]{0,9}") {
            let found = scrub(&format!("{before}http://{user}:HUSH@h.test/{path}?k=HUSH {after}"));
            proptest::prop_assert!(!found.contains("HUSH"), "{found}");
        }
    }
}
