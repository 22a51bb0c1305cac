//! The texts that GRUB reads: the early commands in the core, and the menu in the root filesystem.

use std::fmt::Write;

use crate::{Error, Result};

/// The path of the menu in the root filesystem.
pub const MENU_PATH: &str = "/boot/grub/grub.cfg";

/// The device and folder that GRUB starts from: partition `partition` (from 1) of the disk that the BIOS booted.
pub fn prefix(partition: u32) -> String {
    format!("(,gpt{partition})/boot/grub")
}

/// The early commands: search for the filesystem `root`, starting where [`prefix`] points, so that a second disk with a
/// copy is not used instead. If the search fails, the prefix stays in effect.
pub fn early_config(root: &[u8; 16]) -> String {
    format!("search.fs_uuid {} root $root\nset prefix=($root)/boot/grub\n", uuid(root))
}

/// The menu: one entry, which boots the kernel that the link `/vmlinuz` points to.
#[derive(Debug, Clone, Copy)]
pub struct Menu<'a> {
    /// The entry's title.
    pub title: &'a str,
    /// The UUID of the root filesystem.
    pub root: [u8; 16],
    /// Kernel arguments after `root=… ro`, one word each.
    pub arguments: &'a [&'a str],
}

impl Menu<'_> {
    /// The arguments for kernel messages and a login on both the screen and the first serial port; the last one becomes
    /// `/dev/console`.
    pub const CONSOLES: &'static [&'static str] = &["console=tty0", "console=ttyS0,115200"];

    /// The text of [`MENU_PATH`].
    ///
    /// It boots at once; holding Shift shows the menu. The serial port is used if there is one.
    ///
    /// # Errors
    /// A title or argument that the menu cannot contain: control characters or a single quote.
    pub fn text(&self) -> Result<String> {
        let mut arguments = String::new();
        for argument in self.arguments {
            let _ = write!(arguments, " {}", quote(argument)?);
        }
        Ok(format!(
            "# Written by kbake. All modules are in GRUB's core image; no GRUB tool is needed to change this file.\n\
             if serial --unit=0 --speed=115200; then\n\
             \x20 terminal_input console serial\n\
             \x20 terminal_output console serial\n\
             fi\n\
             set default=0\n\
             set timeout_style=menu\n\
             set timeout=0\n\
             if keystatus --shift; then\n\
             \x20 set timeout=-1\n\
             fi\n\
             menuentry {title} {{\n\
             \x20 linux /vmlinuz root=UUID={uuid} ro{arguments}\n\
             \x20 initrd /initrd.img\n\
             }}\n",
            title = quote(self.title)?,
            uuid = uuid(&self.root),
        ))
    }
}

/// Quotes a word for GRUB's shell: <https://www.gnu.org/software/grub/manual/grub/html_node/Quoting.html>.
fn quote(word: &str) -> Result<String> {
    if word.is_empty() || word.chars().any(|c| c.is_control() || c == '\'') {
        return Err(Error::user(format!("GRUB's menu cannot contain `{}`", word.escape_debug()))
            .detail("expected a word without single quotes or control characters"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "=,.:/_-".contains(c);
    Ok(if word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") })
}

/// A UUID as text: [RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-4).
fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        let hyphen = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{hyphen}{byte:02x}");
    }
    text
}
