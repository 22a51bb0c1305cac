//! Words of a POSIX shell's command line.

/// `word` as the shell will read it back (POSIX.1-2017, Shell Command Language, section 2.2.2). Quoted only where it
/// must be, so that a command stays readable. Also fit for pasting: inside single quotes neither bash nor zsh looks
/// for history (`!`), tildes or patterns.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@".contains(c);
    // An equals sign is harmless behind the first character; in front, zsh would look for a command.
    let is_plain = |(at, c): (usize, char)| plain(c) || c == '=' && at > 0;
    if !word.is_empty() && word.char_indices().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
