//! The certificates and keys that seeds need.

use secrecy::SecretString;

use crate::cluster::model::HostName;
use crate::cluster::pki::{Authority, Purpose, Secrets};
use crate::common::error::Result;

/// Certificates and keys by purpose. Each node's seed asks for its own only.
pub(crate) trait Keyring {
    /// An authority's certificate as PEM.
    fn authority(&self, authority: Authority) -> &str;

    /// The key of the cluster's authority, with which the controller manager signs, as PEM. For control planes only.
    ///
    /// # Errors
    /// The key is kept elsewhere.
    fn signing_key(&self) -> Result<&SecretString>;

    /// The key that signs service accounts' tokens, as PEM. For control planes only.
    fn service_account_key(&self) -> &SecretString;

    /// The key that verifies service accounts' tokens, as PEM.
    fn service_account_public(&self) -> &str;

    /// The key that encrypts secrets in etcd: 32 bytes in base64. For control planes only.
    fn encryption_key(&self) -> &SecretString;

    /// A node's SSH host key: the private half as OpenSSH's files have it, and the public one as type and key.
    fn host_key(&self, node: &HostName) -> Option<(&SecretString, &str)>;

    /// A node's certificate and its private key, both as PEM; none if the node needs none for that purpose.
    fn pair(&self, node: &HostName, purpose: Purpose) -> Option<(&str, &SecretString)>;
}

impl Keyring for Secrets {
    fn authority(&self, authority: Authority) -> &str {
        self.authority(authority)
    }

    fn signing_key(&self) -> Result<&SecretString> {
        self.signing_key_for_control_plane(Authority::Cluster)
    }

    fn service_account_key(&self) -> &SecretString {
        self.service_account_key()
    }

    fn service_account_public(&self) -> &str {
        self.service_account_public()
    }

    fn encryption_key(&self) -> &SecretString {
        self.encryption_key()
    }

    fn host_key(&self, node: &HostName) -> Option<(&SecretString, &str)> {
        self.host_key(node).map(|key| (key.private(), key.public()))
    }

    fn pair(&self, node: &HostName, purpose: Purpose) -> Option<(&str, &SecretString)> {
        self.of(node, purpose).map(|identity| (identity.certificate(), identity.key()))
    }
}
