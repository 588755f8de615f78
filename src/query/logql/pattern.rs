//! `<ip> - <_> "<method> <path>"`: literal text and what stands between it, for the stage `pattern` and for the line
//! filters `|>` and `!>`. Both run in linear time.

use memchr::memmem::Finder;

/// The expression of the stage `pattern`. Invariant: captures stand apart, one at least has a name, names differ.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// The expression of `|>` and `!>`. Invariant: `<_>` stand apart.
#[derive(Clone, Debug)]
pub struct WildcardText {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<Finder<'static>>),
    /// Without a name: `<_>`.
    Capture(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("invalid pattern: at least one named capture is required")]
    NoCapture,
    #[error("invalid pattern: captures {0} and {1} need text between them")]
    Consecutive(String, String),
    #[error("invalid pattern: duplicate capture <{0}>")]
    Duplicate(String),
    #[error("invalid pattern: only <_> is allowed in a line filter, found <{0}>")]
    Named(String),
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let parts = parts(text)?;
        let mut names: Vec<&str> = parts.iter().filter_map(Part::name).collect();
        if names.is_empty() {
            return Err(PatternError::NoCapture);
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PatternError::Duplicate(pair[0].to_owned()));
        }
        Ok(Pattern { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names it captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::name)
    }

    /// Gives `found` each name and its text in the line. The line begins as the pattern does, or nothing is found.
    /// Where a literal is missing, the capture before it has the rest of the line and is the last.
    pub fn captures<'p, 'l>(&'p self, line: &'l str, mut found: impl FnMut(&'p str, &'l str)) {
        let mut rest = line;
        let mut open: Option<&'p Option<String>> = None;
        for part in &self.parts {
            let literal = match part {
                Part::Capture(name) => {
                    open = Some(name);
                    continue;
                }
                Part::Literal(literal) => literal,
            };
            let at = match open {
                None if rest.as_bytes().starts_with(literal.needle()) => Some(0),
                None => return,
                Some(_) => literal.find(rest.as_bytes()),
            };
            if let Some(Some(name)) = open.take() {
                found(name, &rest[..at.unwrap_or(rest.len())]);
            }
            let Some(at) = at else {
                return;
            };
            rest = &rest[at + literal.needle().len()..];
        }
        if let Some(Some(name)) = open {
            found(name, rest);
        }
    }
}

impl WildcardText {
    pub fn parse(text: &str) -> Result<WildcardText, PatternError> {
        let parts = parts(text)?;
        if let Some(name) = parts.iter().find_map(Part::name) {
            return Err(PatternError::Named(name.to_owned()));
        }
        Ok(WildcardText { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its literal texts, in order: every line that matches holds them.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(literal) => Some(text_of(literal)),
            Part::Capture(_) => None,
        })
    }

    /// Whether the whole line is the literals with something in place of each `<_>`.
    pub fn matches(&self, line: &str) -> bool {
        let mut rest = line.as_bytes();
        let mut is_open = false;
        for (i, part) in self.parts.iter().enumerate() {
            let Part::Literal(literal) = part else {
                is_open = true;
                continue;
            };
            let text = literal.needle();
            let is_last = i + 1 == self.parts.len();
            // Something means at least a byte.
            let least = usize::from(is_open);
            let at = if is_last && rest.ends_with(text) {
                Some(rest.len() - text.len()).filter(|at| if is_open { *at >= least } else { *at == 0 })
            } else if is_last {
                None
            } else if is_open {
                rest.get(least..).and_then(|rest| literal.find(rest)).map(|at| at + least)
            } else {
                rest.starts_with(text).then_some(0)
            };
            let Some(at) = at else {
                return false;
            };
            rest = &rest[at + text.len()..];
            is_open = false;
        }
        rest.is_empty() != is_open
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl PartialEq for WildcardText {
    fn eq(&self, other: &WildcardText) -> bool {
        self.text == other.text
    }
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Part::Capture(name) => name.as_deref(),
            Part::Literal(_) => None,
        }
    }
}

fn text_of<'f>(literal: &'f Finder<'static>) -> &'f str {
    str::from_utf8(literal.needle()).expect("a literal is made of whole characters")
}

/// Splits at `<name>` and `<_>`; what is no such thing is literal text.
fn parts(text: &str) -> Result<Vec<Part>, PatternError> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find('<') {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(name) = capture_name(rest) else {
            literal.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[name.len() + 2..];
        match parts.last() {
            Some(Part::Capture(before)) if literal.is_empty() => {
                let before = before.as_deref().unwrap_or("_");
                return Err(PatternError::Consecutive(format!("<{before}>"), format!("<{name}>")));
            }
            _ => push_literal(&mut parts, &mut literal),
        }
        parts.push(Part::Capture((name != "_").then(|| name.to_owned())));
    }
    literal.push_str(rest);
    push_literal(&mut parts, &mut literal);
    Ok(parts)
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(Box::new(Finder::new(literal.as_bytes()).into_owned())));
        literal.clear();
    }
}

/// The name of the capture at the start of `text`, which begins with `<`.
fn capture_name(text: &str) -> Option<&str> {
    let inside = &text[1..];
    let len = inside.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let name = &inside[..len];
    let is_name = inside[len..].starts_with('>') && name.starts_with(|c: char| !c.is_ascii_digit());
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, line: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let pattern = Pattern::parse(pattern).unwrap();
        pattern.captures(line, |name, text| all.push((name.to_owned(), text.to_owned())));
        all
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn captures_reach_to_the_next_literal() {
        let line = "10.0.0.1 - - \"GET /x HTTP/1.1\" 200";
        assert_eq!(
            captured("<ip> - <_> \"<method> <path> <_>\" <status>", line),
            pairs(&[("ip", "10.0.0.1"), ("method", "GET"), ("path", "/x"), ("status", "200")])
        );
        assert_eq!(captured("a=<x>;", "a=1;b=2"), pairs(&[("x", "1")]));
        assert_eq!(captured("<x> é <y>", "1 é 2 é 3"), pairs(&[("x", "1"), ("y", "2 é 3")]));
    }

    #[test]
    fn a_missing_literal_ends_the_captures() {
        assert_eq!(captured("<a>, <b>; <c>", "1, 2, 3"), pairs(&[("a", "1"), ("b", "2, 3")]));
        assert_eq!(captured("x<a>", "y1"), []);
        assert_eq!(captured("x<a>", "x"), pairs(&[("a", "")]));
    }

    #[test]
    fn what_only_looks_like_a_capture_is_text() {
        assert_eq!(captured("<<a>>", "<1>"), pairs(&[("a", "1")]));
        assert_eq!(captured("<1> <a b> <c>", "<1> <a b> 2"), pairs(&[("c", "2")]));
        assert_eq!(captured("<a> <", "1 <"), pairs(&[("a", "1")]));
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        let refused = |text| Pattern::parse(text).unwrap_err();
        assert_eq!(refused("a <_> b"), PatternError::NoCapture);
        assert_eq!(refused("<a><_>"), PatternError::Consecutive("<a>".to_owned(), "<_>".to_owned()));
        assert_eq!(refused("<a> <a>"), PatternError::Duplicate("a".to_owned()));
        assert_eq!(WildcardText::parse("<_> <a>").unwrap_err(), PatternError::Named("a".to_owned()));
    }

    #[test]
    fn wildcards_stand_for_something() {
        for (pattern, line, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("a<_>", "ab", true),
            ("a<_>", "a", false),
            ("<_>b", "ab", true),
            ("<_>b", "b", false),
            ("a<_>c", "abc", true),
            ("a<_>c", "ac", false),
            ("a<_>c", "abcbc", true),
            ("a<_>c<_>", "acc", false),
            ("<_>", "", false),
            ("<_>", "x", true),
            ("<_> took <_>ms", "it took 12ms", true),
            ("<_> took <_>ms", "it took 12s", false),
        ] {
            assert_eq!(WildcardText::parse(pattern).unwrap().matches(line), expected, "{pattern} {line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn wildcards_agree_with_a_regular_expression(pattern in "(<_>a|<_>b|a|b|ab){0,4}(<_>)?", line in "[ab]{0,8}") {
            let regex = regex::Regex::new(&format!("^{}$", pattern.replace("<_>", ".+"))).unwrap();
            proptest::prop_assert_eq!(
                WildcardText::parse(&pattern).unwrap().matches(&line),
                regex.is_match(&line)
            );
        }

        #[test]
        fn no_text_panics(pattern in "\\PC{0,20}|[<>_ab ]{0,20}", line in "\\PC{0,20}|[<>_ab ]{0,20}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.captures(&line, |_, _| {});
            }
            if let Ok(wildcard) = WildcardText::parse(&pattern) {
                wildcard.matches(&line);
            }
        }
    }
}
