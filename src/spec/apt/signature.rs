//! The signer of a release file. apt has verified the signature already; a second run of gpgv names the key.

use std::ffi::OsStr;

use crate::common::fsx;
use crate::common::value::Fingerprint;
use crate::spec::recipe::Sources;
use crate::{Error, Result};

use super::state::State;

/// The first of the accepted keys that signed the release file in `state`.
///
/// # Errors
/// [`crate::Class::Integrity`]: a bad signature, none by an accepted key, or a release file of another suite, which a hostile
/// mirror could offer with an honest signature.
pub(super) fn signer(state: &State<'_>, sources: &Sources) -> Result<Fingerprint> {
    let release = state.in_release()?;
    let plain = state.path("Release");
    let arguments: [&OsStr; 7] = [
        "--status-fd=1".as_ref(),
        "--keyring".as_ref(),
        sources.keyring.value.as_str().as_ref(),
        "--output".as_ref(),
        plain.as_os_str(),
        "--".as_ref(),
        release.as_os_str(),
    ];
    // The exit status is not decisive: it is nonzero too if one of several signatures is by a key outside of the keyring.
    let output = state.run("gpgv", arguments)?;
    let signers = good_signers(&output.stdout)?;
    let Some(key) = sources.keys.iter().map(|key| &key.value).find(|key| signers.contains(key)) else {
        let error = Error::integrity("its release file is not signed by a key that the sources file accepts");
        let error = sources.keys.iter().fold(error, |error, key| error.detail(format!("accepted: {}", key.value)));
        let error = signers.iter().fold(error, |error, key| error.detail(format!("signed by: {key}")));
        return Err(error.hint(format!("if the archive's key changed, verify the new one and add it to `keys` in `{}`", sources.file)));
    };
    let text = fsx::read_to_string(&plain)?;
    if !is_of_suite(&text, sources.suite.value.as_str()) {
        let found = field(&text, "Codename").or_else(|| field(&text, "Suite")).unwrap_or("nothing");
        let error = Error::integrity("it offers the release file of another suite");
        return Err(error.detail(format!("expected {}, found {}", sources.suite.value, found.escape_debug())));
    }
    Ok(key.clone())
}

/// The primary keys of the good signatures in gpgv's status lines
/// ([GnuPG's DETAILS, "Format of the --status-fd output"](https://github.com/gpg/gnupg/blob/master/doc/DETAILS)).
/// VALIDSIG alone is not enough: it also follows expired and revoked keys.
fn good_signers(status: &str) -> Result<Vec<Fingerprint>> {
    let mut signers = Vec::new();
    let mut good = false;
    for line in status.lines() {
        let mut words = line.strip_prefix("[GNUPG:] ").unwrap_or_default().split(' ');
        match words.next() {
            Some("NEWSIG") => good = false,
            Some("GOODSIG") => good = true,
            Some("BADSIG") => return Err(Error::integrity("its release file bears a bad signature").detail(line)),
            // The last field is the primary key's fingerprint, when a subkey signed.
            Some("VALIDSIG") if good => signers.extend(words.next_back().and_then(|word| word.parse().ok())),
            _ => {}
        }
    }
    Ok(signers)
}

fn is_of_suite(release: &str, suite: &str) -> bool {
    [field(release, "Codename"), field(release, "Suite")].contains(&Some(suite))
}

/// A field of a release file, before its lists of files.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "4D64FEC119C2029067D6E791F8D2585B8783D481";
    const PRIMARY: &str = "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8";

    #[test]
    fn only_good_signatures_count() {
        let valid = format!("[GNUPG:] VALIDSIG {KEY} 2026-07-11 1783765141 0 4 0 22 8 01 {PRIMARY}\n");
        let cases = [
            ("[GNUPG:] GOODSIG F8 Name\n", 1),
            ("[GNUPG:] EXPKEYSIG F8 Name\n", 0),
            ("[GNUPG:] REVKEYSIG F8 Name\n", 0),
            ("[GNUPG:] GOODSIG F8 Name\n[GNUPG:] NEWSIG\n[GNUPG:] EXPSIG F8 Name\n", 0),
            // Words of the signed text, or of a key's name, are not status lines.
            ("GOODSIG F8 Name\n", 0),
        ];
        for (before, expected) in cases {
            let signers = good_signers(&format!("[GNUPG:] NEWSIG\n{before}{valid}")).unwrap();
            assert_eq!(signers.len(), expected, "{before}");
            assert!(signers.iter().all(|key| key.as_str() == PRIMARY));
        }
        assert!(good_signers("[GNUPG:] NEWSIG\n[GNUPG:] BADSIG F8 Name\n").is_err());
        assert_eq!(good_signers("[GNUPG:] NEWSIG\n[GNUPG:] NO_PUBKEY 78DBA3BC47EF2265\n").unwrap(), []);
    }

    #[test]
    fn suites() {
        let text = "Origin: Debian\nSuite: oldstable\nCodename: bookworm\nSHA256:\n abc 1 Codename: sid\n";
        assert!(is_of_suite(text, "bookworm") && is_of_suite(text, "oldstable"));
        assert!(!is_of_suite(text, "sid") && !is_of_suite("", "bookworm"));
    }
}
