//! The user's own configuration: who is asked in place of release hosts and registries, and who we are there. Nothing
//! in it can change what is baked, only where it comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::Web;
use super::args::{is_registry_mirror, is_rewrite};
use crate::document::{self, Section};
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
    let shown = path.display().to_string();
    let bytes = fsx::read_if_present(path)?.ok_or_else(|| Error::user(format!("{shown} is missing, which $KBAKE_CONFIG names")))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::user(format!("{shown} is no UTF-8 text")))?;
    parse(&shown, &text)
}

fn parse(file: &str, text: &str) -> Result<fetch::Options> {
    let mut root = document::open(file, text, REMEDY)?;
    root.only(&["rewrite", "registry", "login"])?;
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

    fn fs_write(path: &Path, bytes: &[u8]) {
        fsx::write_atomic(path, 0o600, bytes).unwrap();
    }
}
