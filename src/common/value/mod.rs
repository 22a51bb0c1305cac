//! Small values that are valid by construction: digests, tree paths, the epoch, architectures, roles, packages,
//! artifacts. Parsed here once, they need no second check elsewhere. No I/O.

mod artifact;
mod calendar;
mod cancel;
mod debian;
mod digest;
mod guid;
mod path;
mod proxy;
mod shell;
mod size;
mod text;

pub use artifact::{ArtifactName, Digest, Reference, ReleaseVersion};
pub use calendar::{Civil, civil};
pub use cancel::Cancel;
pub use debian::{Fingerprint, PackageArch, PackageName, PoolPath, Version};
pub use digest::{Hasher, Hasher512, Sha256, Sha512};
pub use guid::Guid;
pub use path::TreePath;
pub use proxy::Proxies;
pub use shell::quote;
pub use size::Size;
pub(crate) use text::shown_as_text;
pub use text::{Arch, Epoch, MachineArch, RoleName, escape, unescape};
