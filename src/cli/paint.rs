//! The colours of messages: those in which clap shows its own.

use clap::builder::styling::{Style, Styles};

/// The words that begin a message, as [`crate::Error`] and the commands write them.
const WORDS: [&str; 4] = ["error:", "warning:", "note:", "hint:"];

/// The text with the word that begins a line in its colour.
pub fn painted(text: &str) -> String {
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
    fn only_the_word_that_begins_a_line_has_a_colour() {
        let plain = "error: no error: here\n  detail\nhint: do\nwarning: x\nnote: y\n";
        let text = painted(plain);
        let styled = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(styled, plain);
        let coloured: Vec<bool> = text.lines().map(|line| line.starts_with('\u{1b}')).collect();
        assert_eq!(coloured, [true, false, true, true, true], "{text:?}");
        assert!(text.contains("error:\u{1b}[0m no error: here\n  detail\n"), "{text:?}");
    }
}
