//! Patterns of paths: `*` matches any letters of one name, `**` any number of names.

/// True when `pattern` matches the path.
pub(super) fn matches(pattern: &str, path: &[u8]) -> bool {
    let names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let wanted: Vec<&str> = pattern.split('/').collect();
    all(&wanted, &names)
}

fn all(wanted: &[&str], names: &[&[u8]]) -> bool {
    match wanted.split_first() {
        None => names.is_empty(),
        // At the end `**` matches at least one name; elsewhere also none.
        Some((&"**", [])) => !names.is_empty(),
        Some((&"**", rest)) => (0..=names.len()).any(|skipped| all(rest, &names[skipped..])),
        Some((want, rest)) => names.split_first().is_some_and(|(name, others)| one(want, name) && all(rest, others)),
    }
}

fn one(want: &str, name: &[u8]) -> bool {
    match want.split_once('*') {
        None => name == want.as_bytes(),
        Some((head, tail)) => match name.strip_prefix(head.as_bytes()) {
            None => false,
            Some(rest) if !tail.contains('*') => rest.len() >= tail.len() && rest.ends_with(tail.as_bytes()),
            Some(rest) => (0..=rest.len()).any(|skipped| one(tail, &rest[skipped..])),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_whole_names() {
        let cases = [
            ("etc/machine-id", "etc/machine-id", true),
            ("etc/machine-id", "etc/machine-id/x", false),
            ("etc/machine-id", "x/etc/machine-id", false),
            ("**/.netrc", ".netrc", true),
            ("**/.netrc", "root/.netrc", true),
            ("**/.netrc", "home/a/b/.netrc", true),
            ("**/.netrc", "home/a/.netrcs", false),
            ("var/log/**", "var/log/a/b", true),
            ("var/log/**", "var/log", false),
            ("**/.*_history", "root/.bash_history", true),
            ("**/.*_history", "root/bash_history", false),
            ("**/gcloud/*credentials*", "root/.config/gcloud/legacy_credentials.db", true),
            ("**/private-keys-v1.d/*.key", "root/.gnupg/private-keys-v1.d/AB.key", true),
            ("etc/ssh/ssh_host_*", "etc/ssh/ssh_host_d/x", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path.as_bytes()), expected, "{pattern} {path}");
        }
    }
}
