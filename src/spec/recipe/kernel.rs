//! Kernel settings of a recipe: arguments in GRUB's menu, and modules to load at boot.

use std::str::FromStr;

use crate::common::value::shown_as_text;

/// One argument of the kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelArg(String);

/// Arguments that kbake sets itself, or that would keep the image from booting.
const OURS: [&str; 4] = ["root", "initrd", "BOOT_IMAGE", "ro"];

impl FromStr for KernelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        if text.is_empty() || text.len() > 512 || !text.chars().all(|c| c.is_ascii_graphic() && c != '\'') {
            return Err(format!(
                "`{shown}` is not a kernel argument: expected one word of printable ASCII without spaces and single quotes"
            ));
        }
        if let Some(ours) = OURS.into_iter().find(|ours| text.split('=').next() == Some(ours)) {
            return Err(format!("`{shown}` cannot be given: kbake writes `{ours}` itself, for the image's own root filesystem"));
        }
        Ok(KernelArg(text.to_owned()))
    }
}

/// A kernel module by its name: `br_netfilter`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleName(String);

impl ModuleName {
    /// True when `other`, from a module's file or list, is the same name: the kernel treats hyphens and underscores as equal.
    pub fn is_called(&self, other: &str) -> bool {
        self.0.replace('-', "_") == other.replace('-', "_")
    }
}

impl FromStr for ModuleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        match !text.is_empty() && text.len() < 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inner) {
            true => Ok(ModuleName(text.to_owned())),
            false => Err(format!("`{}` is not a kernel module's name, like `br_netfilter`", text.escape_debug())),
        }
    }
}

shown_as_text!(KernelArg, ModuleName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_words_that_grub_and_the_boot_survive() {
        for good in
            ["quiet", "swapaccount=1", "dyndbg=\"file,x+p\"", "systemd.unified_cgroup_hierarchy=1", "rootflags=data=journal", "a$b`c\\"]
        {
            assert_eq!(good.parse::<KernelArg>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\nb", "it's", "root=/dev/sda1", "ro", "initrd=/x", "ü"] {
            assert!(bad.parse::<KernelArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_has_one_name_however_it_is_spelt() {
        let module: ModuleName = "br-netfilter".parse().unwrap();
        assert!(module.is_called("br_netfilter") && !module.is_called("br"));
        for bad in ["", "a b", "../x", "-x", "a.ko"] {
            assert!(bad.parse::<ModuleName>().is_err(), "{bad}");
        }
    }
}
