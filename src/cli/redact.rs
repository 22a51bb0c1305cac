//! Redaction of addresses in messages. kbake's own messages contain no secrets anyway; this is for texts of others, such as
//! apt's, and for the typed command line.

/// Removes user, password and query from every address in `text`.
pub(super) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        let (authority, after) = after.split_at(after.find(|c| ends(c) || "/?#".contains(c)).unwrap_or(after.len()));
        out.push_str(before);
        out.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        let (path, behind) = after.split_at(after.find(|c| ends(c) || "?#".contains(c)).unwrap_or(after.len()));
        rest = after;
        // Another address may follow, for example after `=`.
        if path.contains("://") {
            continue;
        }
        out.push_str(path);
        let (query, behind) = behind.split_at(behind.find(ends).unwrap_or(behind.len()));
        // `?…` stands for a query in shown addresses.
        out.push_str(if query.is_empty() || query.starts_with("?…") { query } else { "?…" });
        rest = behind;
    }
    out + rest
}

/// Like [`redact`], and also removes everything before an `@` inside single quotes: a mistyped address may contain a password
/// but lack the `://` by which [`redact`] recognises it.
pub(super) fn redact_typed(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (n, part) in redact(text).split('\'').enumerate() {
        if n > 0 {
            shown.push('\'');
        }
        // Every second part is inside quotes.
        match part.rsplit_once('@').filter(|_| n % 2 == 1) {
            Some((_, behind)) => shown.extend(["…@", behind]),
            None => shown.push_str(part),
        }
    }
    shown
}

/// True for a character that cannot be part of an address.
fn ends(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"`<>".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_secrets() {
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
            assert_eq!(redact(text), shown);
            assert_eq!(redact(shown), shown, "once is enough");
        }
    }

    #[test]
    fn typed_text_loses_everything_before_an_at() {
        for (text, shown) in [
            ("invalid value 'me:HUSH@h.test/' for '--mirror <URL>'", "invalid value '…@h.test/' for '--mirror <URL>'"),
            ("invalid value 'http:/me:HUSH@h.test' for", "invalid value '…@h.test' for"),
            ("invalid value '//me:HU@SH@h.test' for", "invalid value '…@h.test' for"),
            ("invalid value 'a=me:HUSH@b.test' for '--rewrite", "invalid value '…@b.test' for '--rewrite"),
            ("a mail to me@h.test about 'this'", "a mail to me@h.test about 'this'"),
        ] {
            assert_eq!(redact_typed(text), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_password_stays(before in "[a-z ]{0,9}", user in "[a-z%0-9]{0,5}", path in "[a-z/]{0,9}", after in "[ a-z:]{0,9}") {
            let found = redact(&format!("{before}http://{user}:HUSH@h.test/{path}?k=HUSH {after}"));
            proptest::prop_assert!(!found.contains("HUSH"), "{found}");
        }
    }
}
