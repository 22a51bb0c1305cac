//! The signer of a release file. apt has verified the signature already; a second run of gpgv names the key.

use std::ffi::OsStr;
use std::path::Path;

use crate::common::error::Class;
use crate::common::fsx;
use crate::common::value::{Arch, Fingerprint, Timestamp};
use crate::spec::recipe::Suite;
use crate::{Error, Result};

use super::state::State;

/// A release file's signer, and its date.
pub(super) struct Signed {
    /// The first of the accepted keys that signed it.
    pub key: Fingerprint,
    /// Its field `Date`.
    pub released: Timestamp,
}

/// The signer and the date of a suite's release file.
///
/// # Errors
/// - [`Class::Integrity`]: a bad signature, none by an accepted key, no date, or a release file of another suite, which a hostile
///   mirror could offer with an honest signature.
/// - [`Class::Network`]: the suite lacks a component, or the architecture.
pub(super) fn signed(state: &State<'_>, suite: &Suite, arch: Arch, release: &Path, file: &str) -> Result<Signed> {
    let (plain, keyring) = (state.path("Release"), state.keyring(suite));
    let arguments: [&OsStr; 7] = [
        "--status-fd=1".as_ref(),
        "--keyring".as_ref(),
        keyring.as_os_str(),
        "--output".as_ref(),
        plain.as_os_str(),
        "--".as_ref(),
        release.as_os_str(),
    ];
    // gpgv does not replace a file.
    if fsx::exists(&plain)? {
        fsx::remove_file(&plain)?;
    }
    // The exit status is not decisive: it is nonzero too if one of several signatures is by a key outside of the keyring.
    let output = state.run("gpgv", arguments)?;
    let signers = good_signers(&output.stdout)?;
    let Some(key) = suite.keys.iter().map(|key| &key.value).find(|key| signers.contains(key)) else {
        let error = Error::integrity("its release file is not signed by a key that the sources file accepts");
        let error = suite.keys.iter().fold(error, |error, key| error.detail(format!("accepted: {}", key.value)));
        let error = signers.iter().fold(error, |error, key| error.detail(format!("signed by: {key}")));
        let name = &suite.name.value;
        return Err(
            error.hint(format!("if the archive's key changed, verify the new one and add it to `keys` of the suite `{name}` in `{file}`"))
        );
    };
    let text = fsx::read_to_string(&plain)?;
    if !is_of_suite(&text, suite.name.value.as_str()) {
        let found = field(&text, "Codename").or_else(|| field(&text, "Suite")).unwrap_or("nothing");
        let error = Error::integrity("it offers the release file of another suite");
        return Err(error.detail(format!("expected {}, found {}", suite.name.value, found.escape_debug())));
    }
    has_indexes(&text, suite, arch)?;
    let released = field(&text, "Date").and_then(Timestamp::of_release);
    let released = released.ok_or_else(|| Error::integrity("its release file has no date that kbake understands"))?;
    Ok(Signed { key: key.clone(), released })
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

/// Fails if a release file has no index for a component or for the architecture. apt only warns of it.
fn has_indexes(release: &str, suite: &Suite, arch: Arch) -> Result<()> {
    let words = |name: &str| field(release, name).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    // Security suites once had `updates/main` for `main`.
    let components: Vec<&str> = words("Components").into_iter().map(|word| word.rsplit('/').next().unwrap_or(word)).collect();
    let lacks = |what: String| Err(Error::new(Class::Network, format!("its suite `{}` has no {what}", suite.name.value)));
    match suite.components.iter().find(|wanted| !components.contains(&wanted.value.as_str())) {
        Some(component) => lacks(format!("component `{}`", component.value)),
        None if !words("Architectures").contains(&arch.to_string().as_str()) => lacks(format!("packages for {arch}")),
        None => Ok(()),
    }
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
    fn a_release_file_has_indexes_of_its_components_and_architectures() {
        let text = "channel = 'c'\nkind = 'debian-packages'\narch = 'amd64'\nepoch = 2022-01-01T00:00:00Z\n[[suite]]\nname = 's'\n\
                    archive = 'a'\ncomponents = ['main']\nkeyring = '/k'\nkeys = ['4D64FEC119C2029067D6E791F8D2585B8783D481']\n";
        let suite = &crate::spec::recipe::Sources::parse("s", text, None).unwrap().suites[0];
        let found = |release: &str| has_indexes(release, suite, Arch::Amd64).map_err(|error| error.message().to_owned());
        assert_eq!(found("Architectures: all amd64\nComponents: contrib main\n"), Ok(()));
        assert_eq!(found("Architectures: amd64\nComponents: updates/main\n"), Ok(()));
        assert_eq!(found("Architectures: all arm64\nComponents: main\n"), Err("its suite `s` has no packages for amd64".to_owned()));
        assert_eq!(found("Architectures: amd64\nComponents: contrib\n"), Err("its suite `s` has no component `main`".to_owned()));
    }

    #[test]
    fn suites() {
        let text = "Origin: Debian\nSuite: oldstable\nCodename: bookworm\nSHA256:\n abc 1 Codename: sid\n";
        assert!(is_of_suite(text, "bookworm") && is_of_suite(text, "oldstable"));
        assert!(!is_of_suite(text, "sid") && !is_of_suite("", "bookworm"));
    }
}
