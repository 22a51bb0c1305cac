//! `kbake kubeconfig`: printed, or written to the user's files, which may have other clusters.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::Session;
use super::args::{Admin, Kubeconfig};
use super::cluster::pasteable;
use super::private_files::require_trust_above;
use crate::cluster::model::Cluster;
use crate::cluster::node::{self, Caller};
use crate::cluster::pki::{Authority, Name, Purpose, wanted};
use crate::cluster::seed::FILE_MODE;
use crate::common::error::{Error, Result};
use crate::common::fsx::{self, Persisted};
use crate::common::value::quote;

/// Size limit of a kubeconfig, in bytes.
const LIMIT: u64 = 16 << 20;
/// Mode of a new folder for a kubeconfig, such as kubectl's `~/.kube`.
const FOLDER_MODE: u32 = 0o700;

impl Session<'_> {
    /// `kbake kubeconfig`: the only command that prints a secret, because it is meant for a pipe.
    pub(super) fn kubeconfig(&self, args: &Kubeconfig) -> Result<()> {
        let cluster = self.cluster(&args.cluster)?;
        let server = self.server(args, &cluster)?;
        let secrets = self.secrets(&cluster, &args.cluster, &args.secrets)?;
        let (user, identity) = match args.user {
            Admin::Admin => ("kubernetes-admin", secrets.admin()),
            Admin::SuperAdmin => ("kubernetes-super-admin", secrets.super_admin().ok_or_else(|| no_super_admin(args))?),
        };
        let caller = Caller {
            cluster: cluster.name.as_str(),
            user,
            server: &server,
            authority: secrets.authority(Authority::Cluster),
            certificate: identity.certificate(),
            key: identity.key(),
        };
        match (&args.out, &args.merge) {
            (Some(path), _) => self.put_kubeconfig(path, &caller).map_err(|error| pasteable(error, &args.cluster, &args.secrets)),
            (None, Some(path)) => self.merge_kubeconfig(path, &caller),
            (None, None) => self.shell.data(node::kubeconfig(&caller).expose_secret()),
        }
    }

    /// The API server's URL: the one that the cluster's nodes use, or `--server`.
    fn server(&self, args: &Kubeconfig, cluster: &Cluster) -> Result<String> {
        let Some(own) = cluster.api_url() else {
            return Err(Error::user(format!("{} has no API server", cluster.file))
                .hint("a kubeconfig needs a cluster with a node of role control-plane, or with [api]"));
        };
        let Some(given) = &args.server else { return Ok(own) };
        let servers = wanted(cluster).into_iter().filter(|wanted| matches!(wanted.name, Name::Node(_, Purpose::Apiserver)));
        let mut names: Vec<String> = Vec::new();
        for server in servers {
            names.extend(server.dns);
            names.extend(server.addresses.iter().map(ToString::to_string));
        }
        // Without a control plane in the file, its certificates are created elsewhere.
        match names.is_empty() || names.contains(&given.host) {
            true => Ok(given.text.clone()),
            false => Err(Error::user(format!("no API server certificate is valid for {}, so clients would reject it", given.host))
                .hint(format!("add it to `sans` in [api] of {}; `kbake pki show` then lists the certificates to renew", cluster.file))),
        }
    }

    /// Writes a kubeconfig of this cluster alone. Replaces only an earlier one.
    fn put_kubeconfig(&self, path: &Path, caller: &Caller) -> Result<()> {
        require_trust_above(path, "no kubeconfig is written to")?;
        let place = followed(path)?;
        if let Some(before) = read(&place)? {
            let is_own = node::is_kubeconfig_of(&before, caller);
            if !is_own.as_ref().is_ok_and(|own| *own) {
                return Err(taken(path, caller, is_own.err()));
            }
        }
        self.write_kubeconfig(path, &place, &node::kubeconfig(caller), "the kubeconfig is written and")
    }

    /// Merges this cluster's entries into the kubeconfig at `path`, which keeps all others.
    fn merge_kubeconfig(&self, path: &Path, caller: &Caller) -> Result<()> {
        require_trust_above(path, "no kubeconfig is written to")?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fsx::create_dir(folder, FOLDER_MODE)?;
        }
        let place = followed(path)?;
        // kubectl's own lock file.
        let lock = place.with_file_name(format!("{}.lock", place.file_name().unwrap_or_default().to_string_lossy()));
        if fsx::write_new(&lock, FILE_MODE, b"")? == Persisted::WasThere {
            return Err(Error::user(format!("{} is being changed by kubectl: {} exists", path.display(), lock.display()))
                .hint(format!("if no kubectl is running: rm {}", quote(&lock.display().to_string()))));
        }
        let merged = read(&place).and_then(|before| {
            node::merged_kubeconfig(&before.unwrap_or_else(|| SecretString::from("")), caller)
                .map_err(|error| error.detail(format!("the file is {}", path.display())))
                .map_err(|error| error.map_hints(|hint| hint.replace(" FILE", &format!(" {}", quote(&path.display().to_string())))))
        });
        let done = merged.and_then(|text| self.write_kubeconfig(path, &place, &text, "the kubeconfig is updated and"));
        fsx::remove_file(&lock)?;
        done?;
        let file = quote(&path.display().to_string());
        crate::common::report::Report::say(
            self.shell,
            &format!("kubectl --kubeconfig {file} --context {}@{} get nodes", caller.user, caller.cluster),
        );
        Ok(())
    }

    fn write_kubeconfig(&self, path: &Path, place: &Path, text: &SecretString, subject: &str) -> Result<()> {
        fsx::write_atomic(place, FILE_MODE, text.expose_secret().as_bytes())?;
        self.tell_private(subject, [place])?;
        self.warn_of_git([path]);
        self.shell.data(&format!("{}\n", path.display()))
    }
}

/// The error for private folders of earlier versions, which lack this certificate.
fn no_super_admin(args: &Kubeconfig) -> Error {
    let error = Error::user("the cluster has no certificate `super-admin`: an earlier version created its certificates");
    pasteable(error.hint("kbake pki init"), &args.cluster, &args.secrets)
}

/// The path of the file itself, so that a link to it stays a link.
fn followed(path: &Path) -> Result<PathBuf> {
    match fsx::facts_followed(path)? {
        Some(_) => fsx::canonical(path),
        None if fsx::exists(path)? => Err(Error::user(format!("{} is a dangling link", path.display())).hint("name the file itself")),
        None => Ok(path.to_owned()),
    }
}

fn read(path: &Path) -> Result<Option<SecretString>> {
    match fsx::read_no_follow(path, LIMIT)? {
        None => Ok(None),
        Some((_, Some(bytes))) => {
            let text = String::from_utf8(bytes).map_err(|_| Error::user(format!("{} is not UTF-8 text", path.display())))?;
            Ok(Some(SecretString::from(text)))
        }
        Some(_) => Err(Error::user(format!("{} is not a file of at most {LIMIT} bytes", path.display()))),
    }
}

fn taken(path: &Path, caller: &Caller, why: Option<Error>) -> Error {
    let file = quote(&path.display().to_string());
    let error = Error::user(format!("{} has entries other than this cluster's, and is not replaced", path.display()));
    match why {
        Some(why) => error.detail(why.message().to_owned()).hint("name another file with --out"),
        None => error
            .detail(format!("expected only cluster `{}` with this cluster's authority, and its contexts and users", caller.cluster))
            .detail("`--merge` adds the cluster and keeps the rest; or name another file with --out")
            .hint(format!("kbake kubeconfig --merge {file}")),
    }
}
