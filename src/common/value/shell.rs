//! Words of a POSIX shell's command line.

/// Quotes `word` for a POSIX shell (POSIX.1-2017, Shell Command Language, section 2.2.2), only if necessary, so that a
/// command stays readable. The result is safe to paste: inside single quotes neither bash nor zsh expands history
/// (`!`), tildes or patterns.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@".contains(c);
    // An equals sign is safe except as the first character, where zsh would look up a command.
    let is_plain = |(at, c): (usize, char)| plain(c) || c == '=' && at > 0;
    if !word.is_empty() && word.char_indices().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
