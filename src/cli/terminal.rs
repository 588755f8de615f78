//! Texts that others sent, so that they cannot drive the terminal which shows them.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with its control characters escaped, and those that turn the direction of writing.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_harmful(c) {
            true => write!(shown, "{}", c.escape_default()).expect("writing to a string cannot fail"),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

fn is_harmful(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_the_terminal_is_escaped_and_nothing_else() {
        assert!(matches!(printable("tab\tquote\" back\\slash é 👍"), Cow::Borrowed(_)));
        assert_eq!(printable("\u{1b}[2J\r\n\u{9b}x\u{7f}"), r"\u{1b}[2J\r\n\u{9b}x\u{7f}");
        assert_eq!(printable("user\u{202e}nimda"), r"user\u{202e}nimda");
    }
}
