//! Paths at which a recipe's file would have no effect: it is compiled into something while packages are installed, before
//! recipes' files are added, or another filesystem is mounted over it at boot. Refused, with the alternative that works.

use std::path::Path;

use crate::common::value::TreePath;

/// A path, the reason why a file there has no effect, and the alternative.
struct Dead {
    /// A file, or a folder with everything below it.
    path: &'static str,
    why: &'static str,
    instead: &'static str,
}

/// The folder of the certificates that go into the image's CA bundle.
pub(crate) const AUTHORITIES: &str = "usr/local/share/ca-certificates";

const BUNDLE: &str = "the bundle of CA certificates is made while `ca-certificates` is installed";
const TRUST: &str = "`ca-certificates = [\"FILE.pem\"]` in the recipe adds to the bundle";
const MENU: &str = "kbake writes GRUB's menu itself, and runs no GRUB tool";
const ARGUMENTS: &str = "`kernel-args = [\"…\"]` in the recipe adds arguments";
const INITRAMFS: &str = "the initramfs is made while the kernel is installed, before recipes' files are added";
const MODULES: &str = "`kernel-modules = [\"…\"]` in the recipe loads modules at boot, as soon as the root filesystem is mounted";
const LINKER: &str = "the loader's cache of libraries is made at installation";
const LIBRARIES: &str = "libraries in /usr/lib/x86_64-linux-gnu (or /usr/lib/aarch64-linux-gnu) are found without it";
const HWDB: &str = "the hardware database is compiled while `udev` is installed";
const RULES: &str = "a rule in /etc/udev/rules.d sets the same properties, and is read at boot";
const PRESETS: &str = "presets are applied while packages are installed, and not at boot";
const UNITS: &str = "`[units]` with `enable`, `disable` and `mask` in the recipe";
const LOCALES: &str = "locales are compiled at installation";
const PACKAGES: &str = "`packages = [\"locales-all\"]` installs all of them; C.UTF-8 exists anyway";
const PAM: &str = "PAM's profiles are compiled by pam-auth-update at installation";
const COMMON: &str = "write the compiled file itself: /etc/pam.d/common-auth and its siblings";
const SCHEMAS: &str = "schemas are compiled at installation";
const NOTHING: &str = "a package that brings it does: `packages`";
const CATALOG: &str = "the journal's catalog is compiled while `systemd` is installed";
const COVERED: &str = "another filesystem is mounted over it on a running machine";
const AT_BOOT: &str = "a line in /etc/tmpfiles.d makes files there at boot";
const EMPTIED: &str = "it is emptied at boot";

const DEAD: [Dead; 32] = {
    const fn dead(path: &'static str, why: &'static str, instead: &'static str) -> Dead {
        Dead { path, why, instead }
    }
    [
        dead("etc/ca-certificates.conf", BUNDLE, TRUST),
        dead("etc/ca-certificates", BUNDLE, TRUST),
        dead("usr/share/ca-certificates", BUNDLE, TRUST),
        dead("etc/default/grub", MENU, ARGUMENTS),
        dead("etc/default/grub.d", MENU, ARGUMENTS),
        dead("etc/grub.d", MENU, ARGUMENTS),
        dead("boot/grub/custom.cfg", MENU, ARGUMENTS),
        dead("boot/grub/grubenv", MENU, ARGUMENTS),
        dead("etc/kernel/cmdline", MENU, ARGUMENTS),
        dead("etc/initramfs-tools", INITRAMFS, MODULES),
        dead("usr/share/initramfs-tools", INITRAMFS, MODULES),
        dead("etc/dracut.conf", INITRAMFS, MODULES),
        dead("etc/dracut.conf.d", INITRAMFS, MODULES),
        dead("etc/ld.so.conf", LINKER, LIBRARIES),
        dead("etc/ld.so.conf.d", LINKER, LIBRARIES),
        dead("etc/udev/hwdb.d", HWDB, RULES),
        dead("usr/lib/udev/hwdb.d", HWDB, RULES),
        dead("etc/systemd/system-preset", PRESETS, UNITS),
        dead("usr/lib/systemd/system-preset", PRESETS, UNITS),
        dead("usr/local/lib/systemd/system-preset", PRESETS, UNITS),
        dead("etc/locale.gen", LOCALES, PACKAGES),
        dead("usr/share/i18n", LOCALES, PACKAGES),
        dead("usr/local/share/i18n", LOCALES, PACKAGES),
        dead("usr/share/pam-configs", PAM, COMMON),
        dead("usr/share/glib-2.0/schemas", SCHEMAS, NOTHING),
        dead("usr/share/mime/packages", SCHEMAS, NOTHING),
        dead("usr/lib/systemd/catalog", CATALOG, NOTHING),
        dead("run", COVERED, AT_BOOT),
        dead("dev", COVERED, AT_BOOT),
        dead("proc", COVERED, "a line in /etc/sysctl.d sets kernel parameters at boot"),
        dead("sys", COVERED, "a line in /etc/tmpfiles.d, or a rule in /etc/udev/rules.d, writes there at boot"),
        dead("tmp", EMPTIED, AT_BOOT),
    ]
};

/// The reason why a file or link at `path` would have no effect, and the alternative.
pub(super) fn why_dead(path: &TreePath) -> Option<(String, &'static str)> {
    let listed = DEAD.iter().find(|dead| path.is_within(&TreePath::fixed(dead.path)));
    let said = |why: &str| format!("a file at {path} changes nothing: {why}");
    if let Some(dead) = listed {
        return Some((said(dead.why), dead.instead));
    }
    let name = std::str::from_utf8(path.name()).unwrap_or_default();
    let is_below = |folder: &str| path.is_within(&TreePath::fixed(folder));
    let ends = |ends: &[&str]| Path::new(name).extension().is_some_and(|end| ends.iter().any(|known| end == *known));
    if is_below("usr/local/lib") && (ends(&["so"]) || name.contains(".so.")) {
        return Some((said(LINKER), LIBRARIES));
    }
    if is_below("usr/lib/modules") {
        return Some((said("the list of modules is made by depmod while the kernel is installed"), NOTHING));
    }
    if is_below(AUTHORITIES) && !ends(&["crt"]) {
        return Some((said("only files that end in .crt are taken into the bundle"), TRUST));
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::spec::recipe::{Recipe, Subject};

    fn read(path: &str, kind: &str) -> Result<Recipe, String> {
        let rest = if kind == "symlink" { "target = \"x\"" } else { "content = \"x\"" };
        let text = format!("description = \"d\"\n[[{kind}]]\npath = \"{path}\"\n{rest}\n");
        Recipe::parse("r.toml", &text, Subject::Base).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_that_would_change_nothing_is_refused_with_what_does() {
        for (path, words) in [
            ("/etc/default/grub.d/serial.cfg", "kernel-args"),
            ("/etc/default/grub", "kernel-args"),
            ("/etc/initramfs-tools/modules", "kernel-modules"),
            ("/etc/ca-certificates.conf", "ca-certificates = "),
            ("/usr/share/ca-certificates/corp.crt", "ca-certificates = "),
            ("/usr/local/share/ca-certificates/corp.pem", "end in .crt"),
            ("/etc/ld.so.conf.d/mine.conf", "/usr/lib/x86_64-linux-gnu"),
            ("/usr/local/lib/libmine.so.1.2", "/usr/lib/x86_64-linux-gnu"),
            ("/etc/udev/hwdb.d/60-keys.hwdb", "/etc/udev/rules.d"),
            ("/etc/systemd/system-preset/10.preset", "[units]"),
            ("/etc/locale.gen", "locales-all"),
            ("/usr/lib/modules/6.1/extra/mine.ko", "depmod"),
            ("/run/mine", "tmpfiles.d"),
            ("/tmp/mine", "emptied at boot"),
            ("/sys/module/x/parameters/y", "another filesystem"),
        ] {
            for kind in ["file", "symlink"] {
                let said = read(path, kind).unwrap_err();
                assert!(
                    said.contains(path) && said.contains("changes nothing") && said.contains(words) && said.contains("r.toml:3:"),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn what_is_read_at_boot_is_taken() {
        for path in [
            "/etc/modules-load.d/a.conf",
            "/etc/modprobe.d/a.conf",
            "/etc/sysusers.d/a.conf",
            "/etc/tmpfiles.d/a.conf",
            "/etc/sysctl.d/a.conf",
            "/etc/udev/rules.d/a.rules",
            "/etc/crypttab",
            "/etc/default/locale",
            "/etc/default/grubby",
            "/etc/mke2fs.conf",
            "/usr/local/lib/mine/plugin.conf",
            "/usr/local/share/ca-certificates/corp.crt",
            "/var/tmp/a",
            "/etc/running",
        ] {
            read(path, "file").unwrap_or_else(|said| panic!("{path}: {said}"));
        }
    }
}
