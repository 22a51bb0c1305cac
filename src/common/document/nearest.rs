//! The known word that a misspelt one most likely means.

/// The nearest of `known` to `word` by optimal string alignment, if it is near enough for a "did you mean".
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let scored = known.into_iter().map(|candidate| (strsim::osa_distance(word, candidate), candidate));
    scored.filter(|&(score, candidate)| score <= limit && candidate != word).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_offered() {
        let known = ["packages", "description", "file", "dir"];
        assert_eq!(nearest("packges", known), Some("packages"));
        // A swap of neighbours is one change, not two: the limit of a short word is one.
        assert_eq!(nearest("flie", known), Some("file"));
        assert_eq!(nearest("paquetes", known), None);
        // By letters, not bytes.
        assert_eq!(nearest("größe", ["grösse", "größer"]), Some("größer"));
        assert_eq!(nearest("units", known), None);
        assert_eq!(nearest("", known), None);
    }
}
