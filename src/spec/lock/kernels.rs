//! Kernels among packages: an image boots exactly one.

use super::Entry;
use crate::common::value::PackageName;

/// The prefix of every kernel package's name, Debian's and those of `make deb-pkg`.
const PREFIX: &str = "linux-image-";
/// The suffix of packages with a kernel's debug symbols, and no kernel.
const SYMBOLS: &str = "-dbg";

/// True for a package that contains a kernel: a version follows the prefix. A package with a flavour there depends on one.
pub(super) fn is_kernel(name: &PackageName) -> bool {
    let version = name.as_str().strip_prefix(PREFIX);
    version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())) && !name.as_str().ends_with(SYMBOLS)
}

/// True for a kernel, and for a package that depends on the newest kernel of a flavour.
pub(crate) fn asks_for_kernel(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.ends_with(SYMBOLS)
}

/// The kernels among packages.
pub(crate) fn kernels<'a>(packages: impl IntoIterator<Item = &'a Entry>) -> Vec<&'a Entry> {
    packages.into_iter().filter(|package| is_kernel(&package.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_known_by_their_names() {
        for (name, kernel, asks) in [
            ("linux-image-6.1.0-18-cloud-amd64", true, true),
            ("linux-image-6.1.0-18-amd64-unsigned", true, true),
            ("linux-image-6.9.9", true, true),
            ("linux-image-cloud-amd64", false, true),
            ("linux-image-amd64", false, true),
            ("linux-image-6.1.0-18-amd64-dbg", false, false),
            ("linux-image-amd64-dbg", false, false),
            ("linux-headers-6.1.0-18-amd64", false, false),
        ] {
            assert_eq!((is_kernel(&name.parse().unwrap()), asks_for_kernel(name)), (kernel, asks), "{name}");
        }
    }
}
