//! A user's additions to a node's user-data. kbake reads them only as far as needed to refuse contradictions with its own part.
//! cloud-init itself joins the two.
//!
//! Both are parts of one [MIME
//! document](https://cloudinit.readthedocs.io/en/22.4.2/topics/format.html#mime-multi-part-archive), so that cloud-init reads
//! the user's YAML as it would alone, in YAML 1.1. It appends lists to kbake's (`write_files`, `bootcmd`, …), merges mappings,
//! and keeps kbake's value where both have one; but such keys are refused.

mod yaml;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::NodeFile;
use crate::common::document::nearest;
use crate::common::error::{Error, Result};
use crate::common::value::Sha256;

/// The additions of one node. They may hold secrets: none of the text is ever shown.
pub(crate) struct Additions {
    /// The file's name, for messages.
    file: String,
    kind: Kind,
    text: SecretString,
    /// The paths of the files that they write, with their lines.
    paths: Vec<(usize, String)>,
}

/// The user-data format of a part, which cloud-init determines from its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `#cloud-config`: YAML.
    Config,
    /// `#!`: a program that runs once at the end of the first boot.
    Script,
}

/// Keys that a module of cloud-init reads in kbake's images (`90-kbake.cfg`) and that users may set.
const KNOWN: [&str; 19] = [
    "allow_public_ssh_keys",
    "apt",
    "bootcmd",
    "ca_certs",
    "disable_root",
    "disable_root_opts",
    "final_message",
    "groups",
    "output",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "runcmd",
    "ssh_authorized_keys",
    "ssh_publish_hostkeys",
    "ssh_quiet_keygen",
    "users",
    "write_files",
];

/// Keys that kbake sets, and the source of their values.
const OWN: [(&str, &str); 17] = [
    ("cloud_config_modules", "the image's part of cloud-init"),
    ("cloud_final_modules", "the image's part of cloud-init"),
    ("cloud_init_modules", "the image's part of cloud-init"),
    ("datasource", "the image's part of cloud-init"),
    ("datasource_list", "the image's part of cloud-init"),
    ("fqdn", "the node's name and the cluster's `domain`"),
    ("growpart", "the image's part of cloud-init"),
    ("hostname", "the node's `name`"),
    ("manage_etc_hosts", "the cluster: all nodes are in /etc/hosts"),
    ("network", "the node's address in [network]"),
    ("prefer_fqdn_over_hostname", "the node's `name`"),
    ("preserve_hostname", "the node's `name`"),
    ("resize_rootfs", "the image's part of cloud-init"),
    ("ssh_deletekeys", "the seed, for the host's ssh keys"),
    ("ssh_genkeytypes", "the seed, for the host's ssh keys"),
    ("ssh_keys", "the seed, for the host's ssh keys"),
    ("system_info", "the image's part of cloud-init"),
];

/// Keys that have an equivalent in the cluster file.
const ELSEWHERE: [(&str, &str); 6] = [
    ("ca-certs", "write it `ca_certs`, or use `ca-certificates` in the cluster file"),
    ("disk_setup", "use `data-disk` in [[node]]"),
    ("fs_setup", "use `data-disk` in [[node]]"),
    ("mounts", "use `data-disk` in [[node]], or `bootcmd`"),
    ("ntp", "use `ntp` in the cluster file"),
    ("swap", "a node has no swap"),
];

impl Additions {
    /// Parses the text of `file`.
    ///
    /// # Errors
    /// A text that is neither `#cloud-config` nor a script, is not a YAML mapping, or has keys that kbake sets or that no
    /// module in kbake's images reads. Messages repeat such a key and its line, and nothing else.
    pub(crate) fn read(file: &str, text: SecretString) -> Result<Self> {
        let first = text.expose_secret().lines().next().unwrap_or_default().trim_end();
        let kind = match first {
            "#cloud-config" => Kind::Config,
            _ if first.starts_with("#!") => Kind::Script,
            _ => {
                return Err(Error::user(format!("{file} is not user-data that kbake can add to a node's"))
                    .hint("its first line is `#cloud-config`, or `#!` and a program"));
            }
        };
        let paths = match kind {
            Kind::Config => config(file, text.expose_secret())?,
            Kind::Script => Vec::new(),
        };
        Ok(Additions { file: file.to_owned(), kind, text, paths })
    }

    /// Refuses files that kbake writes itself.
    ///
    /// # Errors
    /// Such a file, with its path and line.
    pub(crate) fn refuse_duplicates(&self, own: &[NodeFile]) -> Result<()> {
        let twin = self.paths.iter().find(|(_, path)| own.iter().any(|file| plain(&file.path) == plain(path)));
        match twin {
            Some((line, path)) => {
                let shown = path.escape_debug();
                Err(Error::user(format!("{}:{line}: `write_files` has {shown}, which kbake writes into this node's seed", self.file))
                    .hint("leave it out; most of kbake's files read additions from a folder NAME.d beside them"))
            }
            None => Ok(()),
        }
    }
}

/// A path as the kernel reads it, as far as text can say.
fn plain(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts
}

/// Checks the keys. Returns the files that are written.
fn config(file: &str, text: &str) -> Result<Vec<(usize, String)>> {
    let found = yaml::outline(text).map_err(|(line, why)| Error::user(format!("{file}:{line}: {why}")))?;
    for (line, key) in &found.keys {
        let refused = |message: String| Error::user(format!("{file}:{line}: {message}"));
        let shown = key.escape_debug();
        if let Some((_, decides)) = OWN.iter().find(|(own, _)| own == key) {
            return Err(refused(format!("`{shown}` is set by kbake: it follows from {decides}")).hint("leave it out"));
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| known == key) {
            return Err(refused(format!("nothing in kbake's images reads `{shown}`")).hint(*instead));
        }
        if !KNOWN.contains(&key.as_str()) {
            let error = refused(format!("nothing in kbake's images reads `{shown}`"));
            return Err(match nearest(key, KNOWN) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint(format!("known: {}", KNOWN.join(", "))),
            });
        }
    }
    Ok(found.paths)
}

/// cloud-init's merge rule for the second part: see the module.
const MERGE: &str = "list(append)+dict(no_replace,recurse_list)+str()";

/// kbake's own user-data and the additions as one document.
pub(super) fn joined(own: &SecretString, more: &Additions) -> SecretString {
    let (own, text) = (own.expose_secret(), more.text.expose_secret());
    let kind = match more.kind {
        Kind::Config => "text/cloud-config",
        Kind::Script => "text/x-shellscript",
    };
    // No text contains its own digest.
    let mut boundary = format!("kbake-{}", Sha256::of(text));
    boundary.truncate("kbake-".len() + 32);
    // MIME's encoding for all but plain lines: it keeps each byte.
    let is_plain = text.bytes().all(|c| c == b'\n' || (b' '..=b'~').contains(&c)) && text.ends_with('\n');
    let mut body = if is_plain { text.to_owned() } else { STANDARD.encode(text) };
    let encoding = if is_plain { "7bit" } else { "base64" };
    let pieces = [
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"",
        &boundary,
        "\"\n\n--",
        &boundary,
        "\nContent-Type: text/cloud-config; charset=\"us-ascii\"\nContent-Transfer-Encoding: 7bit\n\n",
        own,
        "\n--",
        &boundary,
        "\nContent-Type: ",
        kind,
        "; charset=\"utf-8\"\nContent-Transfer-Encoding: ",
        encoding,
        "\nMerge-Type: ",
        MERGE,
        "\n\n",
        &body,
        "\n--",
        &boundary,
        "--\n",
    ];
    // With the exact capacity: a buffer that grows leaves copies behind.
    let mut document = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    document.extend(pieces);
    body.zeroize();
    SecretString::from(document)
}

#[cfg(test)]
mod tests;
