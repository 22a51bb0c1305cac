//! Small values that are valid by construction: digests, tree paths, the epoch, architectures, roles, packages,
//! artifacts. Parsed here once, they need no second check elsewhere. No I/O.

mod artifact;
mod calendar;
mod cancel;
mod deb_version;
mod debian;
mod digest;
mod guid;
mod mirror;
mod path;
mod proxy;
mod shell;
mod size;
mod text;

pub(crate) use artifact::{ArtifactName, ReleaseVersion};
pub use artifact::{Digest, Reference};
pub(crate) use calendar::{Timestamp, civil, days_from_civil};
pub use cancel::Cancel;
pub(crate) use debian::{Fingerprint, PackageArch, PackageName, PoolPath, Version};
pub use digest::{Hasher, Hasher512, Sha256, Sha512};
pub(crate) use guid::Uuid;
pub use guid::derived_uuid;
pub use mirror::Mirror;
pub use path::TreePath;
pub(crate) use proxy::Proxies;
pub(crate) use shell::quote;
pub(crate) use size::Size;
pub(crate) use text::shown_as_text;
pub use text::{Arch, Epoch, RoleName};
pub(crate) use text::{MachineArch, escape, unescape};
