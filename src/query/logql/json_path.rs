//! Where a value stands in a JSON document: `a.b[0]["c d"]`.

use crate::query::lexical::strings::{quote, unquote};

/// Steps from the root; at least one. Made by [`JsonPath::parse`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    steps: Vec<JsonStep>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse JSON expression {text:?}: expected {expected} at byte {at}")]
pub struct JsonPathError {
    text: String,
    expected: &'static str,
    at: usize,
}

impl JsonPath {
    pub fn parse(text: &str) -> Result<JsonPath, JsonPathError> {
        match steps(text) {
            Ok(steps) => Ok(JsonPath { text: text.to_owned(), steps }),
            Err((expected, at)) => {
                Err(JsonPathError { text: text.chars().take(128).collect(), expected, at })
            }
        }
    }

    /// The one key of this name, whatever characters it has.
    pub fn key(name: &str) -> JsonPath {
        let steps = vec![JsonStep::Key(name.to_owned())];
        let is_bare = bare_key(name, 0).is_some_and(|(_, len)| len == name.len());
        let text = if is_bare { name.to_owned() } else { format!("[{}]", quote(name.as_bytes())) };
        JsonPath { text, steps }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn steps(&self) -> &[JsonStep] {
        &self.steps
    }
}

/// What was expected, and where.
type Expected = (&'static str, usize);

fn steps(text: &str) -> Result<Vec<JsonStep>, Expected> {
    let (mut steps, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let (step, len) = match text.as_bytes()[at] {
            b'[' => in_brackets(&text[at + 1..]).map_err(|expected| (expected, at + 1))?,
            b'.' if !steps.is_empty() => bare_key(&text[at + 1..], 1).ok_or(("a key", at + 1))?,
            _ if steps.is_empty() => bare_key(text, 0).ok_or(("a key or \"[\"", 0))?,
            _ => return Err(("\".\" or \"[\"", at)),
        };
        steps.push(step);
        at += len;
    }
    if steps.is_empty() { Err(("a key or \"[\"", 0)) } else { Ok(steps) }
}

/// The key at the start of `text`, and the length of it and what stood before.
fn bare_key(text: &str, before: usize) -> Option<(JsonStep, usize)> {
    let is_end = |c: char| matches!(c, '.' | '[' | ']' | '"' | '\\') || c.is_whitespace();
    let key = &text[..text.find(is_end).unwrap_or(text.len())];
    (!key.is_empty()).then(|| (JsonStep::Key(key.to_owned()), before + key.len()))
}

/// `0]` or `"key"]`, and its length with the bracket before.
fn in_brackets(text: &str) -> Result<(JsonStep, usize), &'static str> {
    let (step, len) = if text.starts_with('"') {
        let (key, len) = unquote(text).map_err(|_| "a closed string")?;
        (JsonStep::Key(String::from_utf8(key).map_err(|_| "a key in UTF-8")?), len)
    } else {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        (JsonStep::Index(text[..digits].parse().map_err(|_| "an index or a string")?), digits)
    };
    if text[len..].starts_with(']') { Ok((step, len + 2)) } else { Err("\"]\" behind what stands") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> JsonStep {
        JsonStep::Key(key.to_owned())
    }

    #[test]
    fn keys_and_indexes_lead_into_a_document() {
        let steps = |text: &str| JsonPath::parse(text).unwrap().steps;
        assert_eq!(steps("a"), [key("a")]);
        assert_eq!(steps("a.b[0].c"), [key("a"), key("b"), JsonStep::Index(0), key("c")]);
        assert_eq!(steps(r#"[1]["x.y"]"#), [JsonStep::Index(1), key("x.y")]);
        assert_eq!(steps("é-1.b"), [key("é-1"), key("b")]);
        for name in ["a", "a.b", "", "a\"b"] {
            assert_eq!(steps(JsonPath::key(name).text()), [key(name)]);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in
            ["", ".a", "a.", "a..b", "a[", "a[]", "a[x]", "a[0", r#"a["b]"#, "a]b", "a b", "a[0]b", "a[-1]"]
        {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[a.\\[\\]\"0]{0,12}") {
            let _ = JsonPath::parse(&text);
        }
    }
}
