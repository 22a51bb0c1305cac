//! Colours of messages, the same as in clap's own messages.

use clap::builder::styling::{Style, Styles};

/// The first words of messages, as in [`crate::Error`] and in the commands.
const WORDS: [&str; 4] = ["error:", "warning:", "note:", "hint:"];

/// The text with the first words of lines in colour.
pub(super) fn coloured(text: &str) -> String {
    let line = |line: &str| match WORDS.into_iter().find_map(|word| Some((word, line.strip_prefix(word)?))) {
        Some((word, rest)) => {
            let style = style(word);
            format!("{style}{word}{style:#}{rest}")
        }
        None => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn style(word: &str) -> Style {
    let styles = Styles::styled();
    match word {
        "error:" => *styles.get_error(),
        "warning:" => *styles.get_invalid(),
        "hint:" => *styles.get_valid(),
        _ => *styles.get_literal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_word_of_a_line_is_coloured() {
        let plain = "error: no error: here\n  detail\nhint: do\nwarning: x\nnote: y\n";
        let text = coloured(plain);
        let styled = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(styled, plain);
        let coloured: Vec<bool> = text.lines().map(|line| line.starts_with('\u{1b}')).collect();
        assert_eq!(coloured, [true, false, true, true, true], "{text:?}");
        assert!(text.contains("error:\u{1b}[0m no error: here\n  detail\n"), "{text:?}");
    }
}
