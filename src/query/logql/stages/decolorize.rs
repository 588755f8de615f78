//! `decolorize`: a line without the escape sequences of terminals.

const ESCAPE: char = '\u{1b}';
/// Opens a control sequence as `ESC [` does.
const CSI: char = '\u{9b}';
const BELL: char = '\u{7}';

/// Whether the line has what [`decolorize`] takes away.
pub fn has_escapes(line: &str) -> bool {
    line.contains([ESCAPE, CSI])
}

/// Appends the line without its escape sequences. One that does not end goes up to the end of the line.
pub fn decolorize(line: &str, to: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.find([ESCAPE, CSI]) {
        to.push_str(&rest[..at]);
        rest = behind_sequence(&rest[at..]);
    }
    to.push_str(rest);
}

fn behind_sequence(text: &str) -> &str {
    let mut chars = text.chars();
    let opened = match (chars.next(), chars.clone().next()) {
        (Some(CSI), _) => Some('['),
        (_, second) => {
            chars.next();
            second
        }
    };
    let rest = chars.as_str();
    match opened {
        // Parameters and intermediates, then one final character.
        Some('[') => {
            let inside = |c: char| (' '..='?').contains(&c);
            let behind = rest.trim_start_matches(inside);
            behind.strip_prefix(|c: char| ('@'..='~').contains(&c)).unwrap_or(behind)
        }
        // A title or a link, up to BEL or `ESC \`.
        Some(']') => match rest.find([BELL, ESCAPE]) {
            Some(at) if rest[at..].starts_with(BELL) => &rest[at + 1..],
            Some(at) => rest[at + 1..].strip_prefix('\\').unwrap_or(&rest[at..]),
            None => "",
        },
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> String {
        let mut to = String::new();
        decolorize(line, &mut to);
        to
    }

    #[test]
    fn sequences_go_and_text_stays() {
        assert_eq!(plain("\u{1b}[1;31merror\u{1b}[0m é \u{9b}32mok\u{9b}m"), "error é ok");
        assert_eq!(plain("\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\!"), "link!");
        assert_eq!(plain("a\u{1b}Mb"), "ab");
        assert_eq!(plain("cut \u{1b}[31"), "cut ");
        assert_eq!(plain("cut \u{1b}"), "cut ");
        assert_eq!(plain("plain [31m"), "plain [31m");
    }

    proptest::proptest! {
        #[test]
        fn no_escape_is_left_and_no_line_panics(line in "[\u{1b}\u{9b}\u{7}\\[\\];0-9mé\\\\a]{0,30}") {
            proptest::prop_assert!(!has_escapes(&plain(&line)) || line.contains("]"));
        }
    }
}
