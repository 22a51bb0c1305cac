//! `kbake seed`: a node from its options, its volume into a private file.

use std::path::PathBuf;
use std::str::FromStr;

use super::Session;
use super::args::{Listen, Seed};
use crate::cluster::{Addressing, EtcdListen, EtcdNode, HostName, LoneNode, Mac, SshKey, StaticAddress};
use crate::error::{Class, Error, Result};
use crate::fsx;
use crate::report::Report as _;
use crate::seed;

impl Session<'_> {
    /// `kbake seed`.
    pub fn seed(&self, args: &Seed) -> Result<()> {
        let project = self.project()?;
        let role = project.role(&args.role)?;
        let epoch = project.channel(&self.global.channel)?.sources.epoch;
        let name: HostName = parsed("the node's name", &args.name)?;
        let node = LoneNode {
            domain: args.domain.as_deref().map(|text| parsed("--domain", text)).transpose()?,
            network: addressing(args)?,
            mac: args.mac.as_deref().map(|text| parsed::<Mac>("--mac", text)).transpose()?,
            ssh_keys: ssh_keys(&args.ssh_key)?,
            etcd: Some(EtcdNode { listen: etcd_listen(args.etcd_listen) }),
            name,
            role,
        };
        for warning in node.warnings() {
            self.shell.notice(&format!("warning: {warning}"));
        }
        let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("images/seeds/{}.iso", node.name)));
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fsx::create_dir_all(folder)?;
        }
        let volume = seed::volume(&node, epoch)?;
        volume.write_private(|bytes| fsx::write_atomic(&out, seed::FILE_MODE, bytes))?;
        self.shell.say(&format!("the seed of {} is written; it is private (mode 0600)", node.fqdn()));
        self.shell.data(&format!("{}\n", out.display()))?;
        Ok(())
    }
}

fn parsed<T: FromStr<Err = String>>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|why| Error::new(Class::Usage, format!("{what}: {why}")))
}

fn etcd_listen(who: Listen) -> EtcdListen {
    match who {
        Listen::Loopback => EtcdListen::Loopback,
        Listen::All => EtcdListen::All,
    }
}

fn addressing(args: &Seed) -> Result<Addressing> {
    let Some(address) = &args.address else { return Ok(Addressing::Dhcp) };
    let address = parsed("--address", address)?;
    let ip = |what: &str, text: &str| {
        text.parse().map_err(|_| Error::new(Class::Usage, format!("{what}: `{}` is no IP address", text.escape_debug())))
    };
    let gateway = args.gateway.as_deref().map(|text| ip("--gateway", text)).transpose()?;
    let dns = args.dns.iter().map(|text| ip("--dns", text)).collect::<Result<_>>()?;
    StaticAddress::new(address, gateway, dns).map(Addressing::Static).map_err(|why| Error::new(Class::Usage, why))
}

fn ssh_keys(files: &[PathBuf]) -> Result<Vec<SshKey>> {
    let mut keys = Vec::new();
    for file in files {
        let text = fsx::read_to_string(file)?;
        keys.extend(SshKey::parse_file(&file.display().to_string(), &text).map_err(Error::user)?);
    }
    Ok(keys)
}
