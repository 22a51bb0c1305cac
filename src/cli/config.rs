//! The user's own configuration: who is asked in place of release hosts and registries, who we are there, and which stores
//! are looked into beside one's own. Nothing in it can change what is baked, only where it comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::Web;
use super::args::{is_registry_mirror, is_rewrite};
use crate::document::{self, Located, Section};
use crate::error::{Error, Result};
use crate::fetch::{self, Login};
use crate::fsx;

const REMEDY: &str = "keep the lines that you want and remove the markers";

/// How releases and registries are reached: what the command says, then what the configuration says.
pub fn web_options(web: &Web) -> Result<fetch::Options> {
    let mut options = match file()? {
        Some(path) => read(&path)?,
        None => fetch::Options::default(),
    };
    options.rewrites.splice(0..0, web.rewrite.iter().cloned());
    options.registry_mirrors.splice(0..0, web.registry_mirror.iter().cloned());
    Ok(options)
}

/// The stores below one's own: those that the command or the environment names, then those of the configuration.
pub fn lower_stores(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    // An empty variable, and what a colon too many leaves, name nothing.
    let mut stores: Vec<PathBuf> = named.iter().filter(|path| !path.as_os_str().is_empty()).cloned().collect();
    if let Some(path) = file()? {
        stores.extend(parse_lower(&path.display().to_string(), &text(&path)?)?);
    }
    Ok(stores)
}

/// `$KBAKE_CONFIG`, or the file in the user's configuration folder, if there is one
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
    let bytes = fsx::read_if_present(path)?.ok_or_else(|| Error::user(format!("{shown} is missing, which $KBAKE_CONFIG names")))?;
    String::from_utf8(bytes).map_err(|_| Error::user(format!("{shown} is no UTF-8 text")))
}

/// All that a configuration may have.
fn open(file: &str, text: &str) -> Result<Section> {
    let root = document::open(file, text, REMEDY)?;
    root.only(&["rewrite", "registry", "login", "store"])?;
    Ok(root)
}

/// `[store] lower`, whatever the rest of the file says: not every command needs the passwords.
fn parse_lower(file: &str, text: &str) -> Result<Vec<PathBuf>> {
    let Some(mut store) = open(file, text)?.section("store")? else { return Ok(Vec::new()) };
    store.only(&["lower"])?;
    let stores = store.list::<String>("lower")?;
    let path = |value: Located<String>| match Path::new(&value.value) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err(value.place.error(format!("`{}` is no absolute path", value.value))),
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
        section.only(&["host", "user", "password-file"])?;
        let host = section.required::<String>("host")?;
        let user = section.required::<String>("user")?.value;
        let from = section.required::<String>("password-file")?;
        let bytes = fsx::read_if_present(Path::new(&from.value))?;
        let password = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|password| !password.trim().is_empty());
        let password = password.ok_or_else(|| from.place.error(format!("{} has no password in it, or is not there", from.value)))?;
        let login = Login { user, password: password.trim_end_matches(['\r', '\n']).to_owned().into() };
        if options.logins.insert(host.value.clone(), Arc::new(login)).is_some() {
            return Err(host.place.error(format!("there are two logins for `{}`", host.value)));
        }
    }
    Ok(options)
}

/// A pair of addresses that `check` lets pass.
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
            ("/password\"", "/none\"", "has no password in it"),
        ] {
            let error = parse("config.toml", &text.replacen(from, to, 1)).err().expect(from).to_string();
            assert!(error.contains(words) && !error.contains("hush"), "{error}");
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
            ("[store]\nlower = [\"srv\"]\n", "`srv` is no absolute path"),
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
