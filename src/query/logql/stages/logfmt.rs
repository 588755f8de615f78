//! `logfmt`: `key=value key="quoted value" key`.

use std::fmt;

use crate::query::logql::ast::Logfmt;

use super::json_scan::unescape;
use super::labels::{EntryError, EntryLabels, push_label_name};
use super::wanted::Wanted;

/// Buffers that the lines of one scan share.
#[derive(Debug, Default)]
pub struct LogfmtScratch {
    name: String,
    extracted: String,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PairError {
    problem: &'static str,
    at: usize,
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.at)
    }
}

pub fn logfmt(
    stage: &Logfmt,
    line: &str,
    wanted: &Wanted,
    labels: &mut EntryLabels,
    scratch: &mut LogfmtScratch,
) {
    let mut pairs = Pairs { line, at: 0 };
    loop {
        match pairs.next(&mut scratch.value) {
            Ok(Some((_, ""))) if !stage.keeps_empty => {}
            Ok(Some((key, value))) if stage.extractions.is_empty() => {
                scratch.name.clear();
                push_label_name(&mut scratch.name, key, true);
                let name = labels.name_for(&scratch.name, &mut scratch.extracted);
                if wanted.holds(name) {
                    labels.add_found(name, value);
                }
            }
            Ok(Some((key, value))) => {
                for extraction in stage.extractions.iter().filter(|extraction| extraction.key == key) {
                    let name = labels.name_for(&extraction.label, &mut scratch.extracted);
                    if wanted.holds(name) {
                        labels.add_found(name, value);
                    }
                }
            }
            Ok(None) => break,
            Err(error) if stage.is_strict => {
                labels.set_error(EntryError::Logfmt, error);
                break;
            }
            Err(_) => {}
        }
    }
    for extraction in &stage.extractions {
        if wanted.holds(&extraction.label) && labels.get(&extraction.label).is_none() {
            labels.put_found(&extraction.label, "");
        }
    }
}

struct Pairs<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Pairs<'a> {
    /// The next pair; a key alone has an empty value. What is no pair is passed over up to the next white space.
    fn next<'s>(&mut self, scratch: &'s mut String) -> Result<Option<(&'a str, &'s str)>, PairError>
    where
        'a: 's,
    {
        let bytes = self.line.as_bytes();
        while bytes.get(self.at).is_some_and(|b| *b <= b' ') {
            self.at += 1;
        }
        if self.at == bytes.len() {
            return Ok(None);
        }
        let key_start = self.at;
        self.go_to(|b| b <= b' ' || b == b'=' || b == b'"');
        let key = &self.line[key_start..self.at];
        match bytes.get(self.at) {
            Some(b'"') => self.fail("unexpected '\"'"),
            Some(b'=') if key.is_empty() => self.fail("unexpected '='"),
            Some(b'=') => {
                self.at += 1;
                let value = self.value(scratch)?;
                Ok(Some((key, value)))
            }
            _ => Ok(Some((key, ""))),
        }
    }

    fn value<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str, PairError>
    where
        'a: 's,
    {
        let start = self.at;
        if self.line.as_bytes().get(start) == Some(&b'"') {
            return self.quoted(scratch);
        }
        self.go_to(|b| b <= b' ' || b == b'=' || b == b'"');
        match self.line.as_bytes().get(self.at) {
            Some(b'=') => self.fail("unexpected '='"),
            Some(b'"') => self.fail("unexpected '\"'"),
            _ => Ok(&self.line[start..self.at]),
        }
    }

    fn quoted<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str, PairError>
    where
        'a: 's,
    {
        let (bytes, start) = (self.line.as_bytes(), self.at + 1);
        let (mut at, mut has_escapes) = (start, false);
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    at += 2;
                }
                Some(_) => at += 1,
                None => {
                    let error = PairError { problem: "unterminated quoted value", at: self.at };
                    self.at = bytes.len();
                    return Err(error);
                }
            }
        }
        let written = &self.line[start..at];
        let opened_at = std::mem::replace(&mut self.at, at + 1);
        if !has_escapes {
            return Ok(written);
        }
        scratch.clear();
        if unescape(written, scratch) {
            Ok(scratch)
        } else {
            Err(PairError { problem: "invalid quoted value", at: opened_at })
        }
    }

    /// Goes on behind the white space that ends what is wrong.
    fn fail<T>(&mut self, problem: &'static str) -> Result<T, PairError> {
        let error = PairError { problem, at: self.at };
        self.go_to(|b| b <= b' ');
        Err(error)
    }

    fn go_to(&mut self, is_end: impl Fn(u8) -> bool) {
        let rest = &self.line.as_bytes()[self.at..];
        self.at += rest.iter().position(|b| is_end(*b)).unwrap_or(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{labels_of, parsed};
    use super::*;
    use crate::query::logql::ast::LogfmtExtraction;

    fn found(stage: &Logfmt, line: &str) -> Vec<(String, String)> {
        parsed(|labels| logfmt(stage, line, &Wanted::All, labels, &mut LogfmtScratch::default()))
    }

    fn all(line: &str) -> Vec<(String, String)> {
        found(&Logfmt::default(), line)
    }

    #[test]
    fn pairs_become_labels() {
        assert_eq!(
            all(r#"ts=2026-01-02T03:04:05Z level=info msg="a \"b\" é\n" http.status=200 app=x a="1"b=2"#),
            labels_of(&[
                ("a", "1"),
                ("app_extracted", "x"),
                ("b", "2"),
                ("http_status", "200"),
                ("level", "info"),
                ("msg", "a \"b\" é\n"),
                ("ts", "2026-01-02T03:04:05Z"),
            ])
        );
    }

    #[test]
    fn what_is_no_pair_is_passed_over() {
        assert_eq!(all("a=1 =2 b\"c d=e=f g=\"x\\q\" h=4"), labels_of(&[("a", "1"), ("h", "4")]));
        assert_eq!(all("a=1 b=\"never ends c=2"), labels_of(&[("a", "1")]));
    }

    #[test]
    fn strict_parsing_ends_at_the_first_mistake() {
        let strict = Logfmt { is_strict: true, ..Logfmt::default() };
        assert_eq!(
            found(&strict, "a=1 =2 c=3"),
            labels_of(&[
                ("__error__", "LogfmtParserErr"),
                ("__error_details__", "unexpected '=' at byte 4"),
                ("a", "1"),
            ])
        );
        assert_eq!(found(&strict, "a=1 b"), labels_of(&[("a", "1")]));
    }

    #[test]
    fn keys_without_values_are_kept_where_that_is_asked_for() {
        assert_eq!(all("a= b c=\"\" d=1"), labels_of(&[("d", "1")]));
        let keep = Logfmt { keeps_empty: true, ..Logfmt::default() };
        assert_eq!(
            found(&keep, "a= b c=\"\" d=1"),
            labels_of(&[("a", ""), ("b", ""), ("c", ""), ("d", "1")])
        );
    }

    #[test]
    fn an_extraction_takes_what_is_asked_for() {
        let extraction =
            |label: &str, key: &str| LogfmtExtraction { label: label.to_owned(), key: key.to_owned() };
        let stage = Logfmt {
            extractions: vec![extraction("x", "a.b"), extraction("c", "c"), extraction("none", "d")],
            ..Logfmt::default()
        };
        assert_eq!(found(&stage, "a.b=1 c=2 a.b=3 e=4"), labels_of(&[("c", "2"), ("none", ""), ("x", "1")]));
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_is_read(
            pairs in proptest::collection::btree_map("[b-z]{1,3}", "[a-z0-9]{1,3}|\\PC{1,5}", 0..5)
        ) {
            let write = |(key, value): (&String, &String)| format!("{key}={}", serde_json::to_string(value).unwrap());
            let line = pairs.iter().map(write).collect::<Vec<_>>().join(" ");
            let expected: Vec<(String, String)> = pairs.into_iter().collect();
            proptest::prop_assert_eq!(all(&line), expected);
        }

        #[test]
        fn no_line_panics(line in "\\PC{0,40}|[ab=\"\\\\ é\t]{0,40}") {
            all(&line);
            found(&Logfmt { is_strict: true, keeps_empty: true, extractions: vec![] }, &line);
        }
    }
}
