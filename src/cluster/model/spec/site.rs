//! The site's settings in the cluster file: `ntp`, `ca-certificates`, `[proxy]` and `[[registry-mirror]]`.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::super::check::refuse_repeats;
use super::super::{Mirror, Proxy, Registry, Site, WebUrl};
use super::value;
use crate::common::document::{Located, Section};
use crate::common::error::Result;

pub(super) fn read(root: &mut Section) -> Result<Site> {
    let mirrors = root.sections("registry-mirror")?.into_iter().map(mirror).collect::<Result<Vec<_>>>()?;
    refuse_repeats(mirrors.iter().map(|(name, _)| (&name.value, format!("the registry {}", name.value), &name.place)))?;
    Ok(Site {
        ntp: distinct("the time server", root.list("ntp")?)?,
        proxy: root.section("proxy")?.map(proxy).transpose()?,
        mirrors: mirrors.into_iter().map(|(name, urls)| Mirror { registry: name.value, urls }).collect(),
        authorities: distinct("the file", root.list::<String>("ca-certificates")?)?,
    })
}

/// The values of a list without repetitions.
fn distinct<T: Ord + Display>(what: &str, items: Vec<Located<T>>) -> Result<Vec<T>> {
    refuse_repeats(items.iter().map(|item| (&item.value, format!("{what} {}", item.value), &item.place)))?;
    Ok(items.into_iter().map(|item| item.value).collect())
}

fn proxy(mut section: Section) -> Result<Proxy> {
    section.only(&["http", "https", "no-proxy"])?;
    let (http, https) = (section.optional("http")?, section.optional("https")?);
    if http.is_none() && https.is_none() {
        return Err(section
            .place()
            .error("[proxy] has neither `http` nor `https`")
            .hint("as in `https = \"http://proxy.example.test:3128\"`"));
    }
    let url = |key, given: Option<Located<String>>| given.map(|text| url(key, text)).transpose();
    Ok(Proxy {
        http: value(url("http", http)?),
        https: value(url("https", https)?),
        direct: distinct("the host", section.list("no-proxy")?)?,
    })
}

fn mirror(mut section: Section) -> Result<(Located<Registry>, Vec<WebUrl>)> {
    section.only(&["registry", "urls"])?;
    let registry = section.required("registry")?;
    let urls = section.list("urls")?.into_iter().map(|text| url("urls", text)).collect::<Result<Vec<_>>>()?;
    if urls.is_empty() {
        return Err(section.missing("urls").hint("as in `urls = [\"https://mirror.example.test\"]`"));
    }
    let mut seen = BTreeSet::new();
    match urls.iter().find(|url| !seen.insert(&url.value)) {
        Some(twice) => Err(twice.place.error(format!("the mirror {} is given twice", twice.value)).hint("remove one of them")),
        None => Ok((registry, urls.into_iter().map(|url| url.value).collect())),
    }
}

/// The message shows neither the line nor the text: people paste logins into addresses by mistake.
fn url(key: &str, text: Located<String>) -> Result<Located<WebUrl>> {
    match text.value.parse() {
        Ok(value) => Ok(Located { value, place: text.place }),
        Err(why) => Err(text.place.error_without_text(format!("bad `{key}`: {why}"))),
    }
}
