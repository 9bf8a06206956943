//! How lines and comments are written: at most 100 columns, and sentences that name the thing.
//!
//! The formatter breaks code, but not comments. Rows of tables and pictures (what stands between
//! ```` ``` ````) have no place to break, so they may be wider.

/// Folders that keep these rules; the others are on their way.
pub(super) const CLEAN: [&str; 11] = [
    "examples/",
    "kernel/linux/",
    "kernel/machine/",
    "kernel/src/",
    "kernel/threads/",
    "kstack/",
    "kstack-core/",
    "kstack-hosted/",
    "rom/",
    "user/",
    "xtask/",
];

/// Columns of a line.
const WIDEST: usize = 100;

/// Words that comments do not have, and what to write instead. In two parts where this file would
/// breach its own rule.
pub(super) const REFUSED: [(&str, &str); 8] = [
    ("nobody", "name who does not"),
    ("somebody", "name who does"),
    ("whoever", "name who does"),
    ("goes on", "continues"),
    ("behind us", "past"),
    ("for ever", "indefinitely"),
    ("way back", "return path"),
    ("many it were", "a sentence that begins with a verb: \"Returns how many.\""),
];

/// Every breach in a Rust file, as lines to print.
pub(super) fn breaches(name: &str, text: &str) -> Vec<String> {
    if !CLEAN.iter().any(|folder| name.starts_with(folder)) {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    let mut picture = false;
    for (number, line) in text.lines().enumerate() {
        let mut found = |what: String| breaches.push(format!("{name}:{}: {what}", number + 1));
        let comment = comment_of(line);
        if comment.is_some_and(|comment| comment.starts_with("```")) {
            picture = !picture;
        }
        // Lines of code are the formatter's.
        let is_text = line.trim_start().starts_with("//");
        let may_be_wide = !is_text || picture || comment.is_some_and(|text| text.starts_with('|'));
        let columns = line.chars().count();
        if columns > WIDEST && !may_be_wide {
            found(format!("{columns} columns, at most {WIDEST}"));
        }
        let lower = comment.unwrap_or_default().to_lowercase();
        for (word, instead) in REFUSED.iter().filter(|(word, _)| has_word(&lower, word)) {
            found(format!("`{word}` in a comment: {instead}"));
        }
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if words.any(|word| word.starts_with(concat!("MO", "ST_"))) {
            found("an upper limit is called `MAX_…`".to_owned());
        }
    }
    breaches
}

/// The text of a line's comment. A line with a quotation mark before it has none that is told from
/// a string.
fn comment_of(line: &str) -> Option<&str> {
    let (code, comment) = line.split_once("//")?;
    (!code.contains('"')).then(|| comment.trim_start_matches(['/', '!']).trim_start())
}

/// Whether a text has a word, or words, as a whole.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        ends(text[..at].chars().next_back()) && ends(text[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        breaches("xtask/src/a.rs", text)
    }

    #[test]
    fn a_line_that_is_too_wide_is_found_unless_it_cannot_be_broken() {
        let wide = "x".repeat(WIDEST);
        let text = |start: &str| format!("{start}{wide}\n");
        for start in ["//! ", "    /// ", "// "] {
            assert_eq!(found(&text(start)).len(), 1, "{start}");
        }
        assert!(found(&text("// "))[0].starts_with("xtask/src/a.rs:1: 103 columns"));
        for start in ["//! | ", "//! ```text\n//! ", "let a = "] {
            assert_eq!(found(&text(start)), [""; 0], "{start}");
        }
        // Columns are characters, not bytes.
        assert_eq!(found(&format!("// {}\n", "é".repeat(WIDEST - 3))), [""; 0]);
        let after = format!("//! ```text\n//! a\n//! ```\n{}", text("//! "));
        assert_eq!(found(&after).len(), 1, "after the picture");
        assert_eq!(breaches("docs/a.rs", &text("// ")), [""; 0], "no folder of the list");
    }

    #[test]
    fn refused_words_are_found_in_comments_only() {
        for (word, _) in REFUSED {
            for text in [format!("/// A {word}.\n"), format!("let a = b; // {word}\n")] {
                assert_eq!(found(&text).len(), 1, "{text}");
            }
            assert_eq!(found(&format!("let a = \"{word} // {word}\";\n")), [""; 0]);
            assert_eq!(found(&format!("// x{word}x\n")), [""; 0]);
        }
        assert_eq!(found("// Whoever\n").len(), 1, "capitals are no difference");
        assert_eq!(found(concat!("const MO", "ST_LINES: u8 = 1;\n")).len(), 1);
    }
}
