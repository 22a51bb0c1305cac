//! The user's configuration file: rewrites, registry mirrors, logins, lower stores. It can change where bytes come from, never
//! which bytes are accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::args::Web;
use super::args::{is_registry_mirror, is_rewrite};
use super::environment::apt_host;
use crate::cluster::pki;
use crate::common::document::{self, Located, Section};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::Cancel;
use crate::spec::apt;
use crate::storage::fetch::{self, Login};

/// Size limit of a password file, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;

const REMEDY: &str = "keep the lines that you want and remove the markers";

/// The fetch options: from the command line, then the configuration, then the environment and the host's apt.
pub(super) fn web_options(web: &Web, cancel: &Cancel) -> Result<fetch::Options> {
    let mut options = match file()? {
        Some(path) => read(&path)?,
        None => fetch::Options::default(),
    };
    let (host, cancel) = (apt_host(), cancel.clone());
    options.proxies = host.proxies().clone();
    options.apt = fetch::AptAccess::Ask(Arc::new(move |mirrors: &[String]| {
        let apt::MirrorAccess { proxies, auth_files, authorities, certificate, .. } = apt::MirrorAccess::of_host(&host, mirrors, &cancel)?;
        Ok(fetch::Apt { proxies, machines: fetch::Machine::read(&auth_files), authorities, certificate })
    }));
    options.rewrites.splice(0..0, web.rewrite.iter().cloned());
    options.registry_mirrors.splice(0..0, web.registry_mirror.iter().cloned());
    Ok(options)
}

/// The lower stores: those of the command line or the environment, then those of the configuration.
pub(super) fn lower_stores(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    // An empty variable or a superfluous colon gives an empty path.
    let mut stores: Vec<PathBuf> = named.iter().filter(|path| !path.as_os_str().is_empty()).cloned().collect();
    if let Some(path) = file()? {
        stores.extend(parse_lower(&path.display().to_string(), &text(&path)?)?);
    }
    Ok(stores)
}

/// `$KBAKE_CONFIG`, or the file in the user's configuration folder, if it exists
/// ([XDG base directories](https://specifications.freedesktop.org/basedir-spec/latest/)).
#[expect(clippy::disallowed_methods, reason = "the cli is where the environment is read")]
fn file() -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os("KBAKE_CONFIG").filter(|named| !named.is_empty()) {
        return Ok(Some(named.into()));
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let Some(path) = folder.map(|folder| folder.join("kbake/config.toml")) else { return Ok(None) };
    Ok(fsx::exists(&path)?.then_some(path))
}

fn read(path: &Path) -> Result<fetch::Options> {
    parse(&path.display().to_string(), &text(path)?)
}

fn text(path: &Path) -> Result<String> {
    let shown = path.display().to_string();
    let bytes = fsx::read_if_present(path)?.ok_or_else(|| Error::user(format!("$KBAKE_CONFIG names {shown}, which does not exist")))?;
    String::from_utf8(bytes).map_err(|_| Error::user(format!("{shown} is not UTF-8 text")))
}

/// Opens a configuration and checks its section names.
fn open(file: &str, text: &str) -> Result<Section> {
    let root = document::open(file, text, REMEDY)?;
    root.only(&["rewrite", "registry", "login", "store"])?;
    Ok(root)
}

/// Parses only `[store] lower`, because not every command needs (or can read) the passwords.
fn parse_lower(file: &str, text: &str) -> Result<Vec<PathBuf>> {
    let Some(mut store) = open(file, text)?.section("store")? else { return Ok(Vec::new()) };
    store.only(&["lower"])?;
    let stores = store.list::<String>("lower")?;
    let path = |value: Located<String>| match Path::new(&value.value) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(value.place.error(format!("`{}` is not an absolute path", value.value))),
    };
    stores.into_iter().map(path).collect()
}

fn parse(file: &str, text: &str) -> Result<fetch::Options> {
    let mut root = open(file, text)?;
    let mut options = fetch::Options::default();
    for mut section in root.sections("rewrite")? {
        options.rewrites.push(pair(&mut section, ["from", "to"], is_rewrite)?);
    }
    for mut section in root.sections("registry")? {
        options.registry_mirrors.push(pair(&mut section, ["name", "mirror"], is_registry_mirror)?);
    }
    for mut section in root.sections("login")? {
        section.only(&["host", "user", "password-file", "token-host"])?;
        let host = section.required::<String>("host")?;
        let key = host_key(&host)?;
        let user = section.required::<String>("user")?.value;
        let token_hosts = section.optional::<String>("token-host")?.map(|named| host_key(&named)).transpose()?;
        let password = password(&section.required::<String>("password-file")?)?;
        let login = Login { user, password, token_hosts: token_hosts.into_iter().collect() };
        if options.logins.insert(key, Arc::new(login)).is_some() {
            return Err(host.place.error(format!("there are two logins for `{}`", host.value)));
        }
    }
    Ok(options)
}

fn host_key(named: &Located<String>) -> Result<String> {
    fetch::host_key(&named.value).ok_or_else(|| {
        let error = named.place.error(format!("`{}` is not a host", named.value));
        error.hint("write HOST or HOST:PORT, without https:// and without a path")
    })
}

/// The password in a file that no other user can access. Links are followed.
fn password(from: &Located<String>) -> Result<SecretString> {
    let path = Path::new(&from.value);
    let none = || from.place.error(format!("{} does not exist or contains no password", from.value));
    let (facts, bytes) = fsx::read_followed(path, MAX_PASSWORD)?.ok_or_else(none)?;
    if facts.kind != fsx::Kind::File {
        return Err(from.place.error(format!("{} is not a regular file", from.value)));
    }
    if let Some((what, remedy)) = pki::why_reached(path, facts, pki::OTHERS, "600") {
        return Err(from.place.error(format!("the password file {} {what}", from.value)).hint(remedy));
    }
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.trim().is_empty());
    Ok(text.ok_or_else(none)?.trim_end_matches(['\r', '\n']).to_owned().into())
}

/// A pair of addresses that passes `check`.
fn pair(section: &mut Section, keys: [&str; 2], check: fn(&str, &str) -> Result<(), String>) -> Result<(String, String)> {
    section.only(&keys)?;
    let [left, right] = keys;
    let (left, right) = (section.required::<String>(left)?, section.required::<String>(right)?);
    check(&left.value, &right.value).map_err(|why| left.place.error(why))?;
    Ok((left.value, right.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_and_its_mistakes_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        fs_write(&password, b"hush\n");
        let text = format!(
            "[[rewrite]]\nfrom = \"https://github.com/\"\nto = \"file:///srv/mirror/\"\n\
             [[registry]]\nname = \"registry.k8s.io\"\nmirror = \"http://mirror.test:5000/k8s\"\n\
             [[login]]\nhost = \"mirror.test:5000\"\nuser = \"ci\"\npassword-file = \"{}\"\n",
            password.display()
        );
        let options = parse("config.toml", &text).unwrap();
        assert_eq!(options.rewrites, [("https://github.com/".to_owned(), "file:///srv/mirror/".to_owned())]);
        assert_eq!(options.registry_mirrors, [("registry.k8s.io".to_owned(), "http://mirror.test:5000/k8s".to_owned())]);
        assert_eq!(options.logins["mirror.test:5000"].user, "ci");
        for (from, to, words) in [
            ("file:///srv", "srv", "config.toml:2"),
            ("http://mirror.test", "mirror.test", "config.toml:5"),
            ("from", "form", "did you mean `from`?"),
            ("/password\"", "/none\"", "contains no password"),
        ] {
            let error = parse("config.toml", &text.replacen(from, to, 1)).err().expect(from).to_string();
            assert!(error.contains(words) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_password_file_that_others_can_reach_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (dir.path().join("password"), dir.path().join("link"), dir.path().join("pipe"));
        symlink("password", &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
        let read = |path: &Path| {
            let path = path.display();
            let login =
                format!("[[login]]\nhost = \"Registry.Test:443\"\nuser = \"u\"\npassword-file = \"{path}\"\ntoken-host = \"auth.test\"\n");
            parse("config.toml", &login).map_err(|error| error.to_string())
        };
        for mode in [0o600, 0o400] {
            fs_write(&file, b"hush");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            for path in [&file, &link] {
                let options = read(path).unwrap_or_else(|error| panic!("{error}"));
                assert!(options.logins["registry.test"].token_hosts.contains("auth.test"));
            }
        }
        for mode in [0o644, 0o640, 0o604, 0o622] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            for path in [&file, &link] {
                let error = read(path).err().unwrap();
                assert!(error.contains(&format!("can be reached by others (mode {mode:o})")) && error.contains("chmod 600 "), "{error}");
                assert!(error.contains("config.toml:4") && !error.contains("hush"), "{error}");
            }
        }
        assert!(read(&pipe).err().unwrap().contains("is not a regular file"));
        for (from, to) in [("Registry.Test:443", "https://registry.test"), ("auth.test", "auth.test/token")] {
            let text = "[[login]]\nhost = \"Registry.Test:443\"\nuser = \"u\"\npassword-file = \"/none\"\ntoken-host = \"auth.test\"\n";
            let error = parse("config.toml", &text.replace(from, to)).err().unwrap().to_string();
            assert!(error.contains("is not a host"), "{error}");
        }
    }

    #[test]
    fn lower_stores_are_the_command_s_then_the_configuration_s() {
        let stores = |text: &str| parse_lower("config.toml", text).map_err(|e| e.to_string());
        assert_eq!(stores("").unwrap(), [""; 0].map(PathBuf::from));
        assert_eq!(stores("[store]\nlower = [\"/srv/a\", \"/srv/b\"]\n").unwrap(), ["/srv/a", "/srv/b"].map(PathBuf::from));
        // No password is read for it.
        let login = "[[login]]\nhost = \"h\"\nuser = \"u\"\npassword-file = \"/none\"\n[store]\nlower = [\"/srv/a\"]\n";
        assert_eq!(stores(login).unwrap(), [PathBuf::from("/srv/a")]);
        for (text, words) in [
            ("[store]\nlower = [\"srv\"]\n", "`srv` is not an absolute path"),
            ("[store]\nlover = []\n", "did you mean `lower`?"),
            ("[stores]\nlower = []\n", "did you mean `store`?"),
        ] {
            let error = stores(text).unwrap_err();
            assert!(error.contains(words) && error.contains("config.toml:"), "{error}");
        }
        assert!(parse("config.toml", "[store]\nlower = [\"/srv/a\"]\n").is_ok(), "the rest of the file is read beside it");
    }

    fn fs_write(path: &Path, bytes: &[u8]) {
        fsx::write_atomic(path, 0o600, bytes).unwrap();
    }
}
