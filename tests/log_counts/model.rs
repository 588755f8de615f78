//! What a pipeline means, line by line and without any index: the plain scan that answers are compared with.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use regex::Regex;

use crate::lines::{Entry, Format};

/// A matcher of labels.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: &'static str,
    pub op: &'static str,
    pub value: String,
}

impl Matcher {
    pub fn text(&self) -> String {
        format!("{}{}{}", self.name, self.op, quoted(&self.value))
    }

    pub fn admits(&self, value: &str) -> bool {
        let matches = || regex(&format!("^(?s:{})$", self.value)).is_match(value);
        match self.op {
            "=" => value == self.value,
            "!=" => value != self.value,
            "=~" => matches(),
            _ => !matches(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Stage {
    /// `|= "a" or "b"`, or its negation.
    Has {
        is_not: bool,
        texts: Vec<String>,
    },
    /// `|~ "x"`, or its negation.
    Finds {
        is_not: bool,
        pattern: String,
    },
    Json,
    Logfmt,
    /// `pattern`, for access logs.
    Pattern,
    /// `regexp`, for the address and port in sshd's lines.
    Regexp,
    /// `| __error__=""`.
    IsRight,
    Label(Matcher),
    /// A comparison of a number, of a duration or of bytes, with its unit.
    Compare {
        name: &'static str,
        op: &'static str,
        number: f64,
        unit: &'static str,
    },
    /// `line_format` of two fields.
    LineFormat(&'static str, &'static str),
    /// `label_format new=old`.
    Rename(&'static str, &'static str),
}

const PATTERN: &str = r#"<client> - - [<_>] "<method> <path> <_>" <status> <bytes>"#;
const REGEXP: &str = r"from (?P<address>[0-9.]+) port (?P<port>[0-9]+)";

/// An entry on its way through the stages.
struct Row<'a> {
    entry: &'a Entry,
    line: String,
    labels: BTreeMap<String, String>,
    is_wrong: bool,
}

impl Stage {
    pub fn text(&self) -> String {
        match self {
            Stage::Has { is_not, texts } => {
                let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                format!("{} {}", if *is_not { "!=" } else { "|=" }, texts.join(" or "))
            }
            Stage::Finds { is_not, pattern } => {
                format!("{} {}", if *is_not { "!~" } else { "|~" }, quoted(pattern))
            }
            Stage::Json => "| json".to_owned(),
            Stage::Logfmt => "| logfmt".to_owned(),
            Stage::Pattern => format!("| pattern `{PATTERN}`"),
            Stage::Regexp => format!("| regexp `{REGEXP}`"),
            Stage::IsRight => r#"| __error__="""#.to_owned(),
            Stage::Label(matcher) => format!("| {}", matcher.text()),
            Stage::Compare { name, op, number, unit } => format!("| {name} {op} {number}{unit}"),
            Stage::LineFormat(a, b) => format!("| line_format `{{{{.{a}}}}} {{{{.{b}}}}}`"),
            Stage::Rename(new, old) => format!("| label_format {new}={old}"),
        }
    }

    /// Whether the row goes on.
    fn apply(&self, row: &mut Row) -> bool {
        match self {
            Stage::Has { is_not, texts } => {
                texts.iter().any(|text| row.line.contains(text.as_str())) != *is_not
            }
            Stage::Finds { is_not, pattern } => regex(pattern).is_match(&row.line) != *is_not,
            Stage::Json => row.parse(Format::Json, true),
            // What is not in pairs has none, and is not wrong for it.
            Stage::Logfmt => row.parse(Format::Logfmt, false),
            Stage::Pattern => row.parse(Format::Access, false),
            Stage::Regexp => {
                if let Some(found) = regex(REGEXP).captures(&row.line) {
                    row.labels.insert("address".to_owned(), found["address"].to_owned());
                    row.labels.insert("port".to_owned(), found["port"].to_owned());
                }
                true
            }
            Stage::IsRight => !row.is_wrong,
            Stage::Label(matcher) => matcher.admits(row.label(matcher.name)),
            Stage::Compare { name, op, number, .. } => {
                let Some(found) = row.labels.get(*name) else { return false };
                compare(number_of(found), op, *number)
            }
            Stage::LineFormat(a, b) => {
                row.line = format!("{} {}", row.label(a), row.label(b));
                true
            }
            Stage::Rename(new, old) => {
                if let Some(value) = row.labels.remove(*old) {
                    row.labels.insert((*new).to_owned(), value);
                }
                true
            }
        }
    }
}

impl Row<'_> {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn parse(&mut self, format: Format, is_strict: bool) -> bool {
        if self.entry.format == format {
            let fields = self.entry.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            self.labels.extend(fields);
        } else {
            // In an empty line there is nothing to be wrong.
            self.is_wrong |= is_strict && !self.line.is_empty();
        }
        true
    }
}

thread_local! {
    /// Compiled once: the scan asks for each of them at every line.
    static REGEXES: RefCell<HashMap<String, Regex>> = RefCell::default();
}

fn regex(pattern: &str) -> Regex {
    REGEXES.with_borrow_mut(|known| {
        if !known.contains_key(pattern) {
            known.insert(pattern.to_owned(), Regex::new(pattern).unwrap());
        }
        known[pattern].clone()
    })
}

/// A number without its unit; all of one field have the same.
fn number_of(text: &str) -> f64 {
    text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().unwrap()
}

fn compare(a: f64, op: &str, b: f64) -> bool {
    match op {
        ">" => a > b,
        ">=" => a >= b,
        "<" => a < b,
        "<=" => a <= b,
        "==" => a == b,
        _ => a != b,
    }
}

/// What came through the pipeline.
pub struct Kept<'a> {
    pub entry: &'a Entry,
    pub line: String,
    pub labels: BTreeMap<String, String>,
}

/// A selector and its pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
}

impl Pipeline {
    pub fn text(&self) -> String {
        let matchers: Vec<String> = self.matchers.iter().map(Matcher::text).collect();
        let stages: Vec<String> = self.stages.iter().map(Stage::text).collect();
        format!("{{{}}} {}", matchers.join(", "), stages.join(" "))
    }

    pub fn scan<'a>(&self, entries: &'a [Entry]) -> Vec<Kept<'a>> {
        entries.iter().filter_map(|entry| self.keep(entry)).collect()
    }

    fn keep<'a>(&self, entry: &'a Entry) -> Option<Kept<'a>> {
        let value = |name: &str| entry.labels.get(name).map_or("", String::as_str);
        if !self.matchers.iter().all(|matcher| matcher.admits(value(matcher.name))) {
            return None;
        }
        let labels = entry.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut row = Row { entry, line: entry.line.clone(), labels, is_wrong: false };
        let is_kept = self.stages.iter().all(|stage| stage.apply(&mut row));
        is_kept.then_some(Kept { entry, line: row.line, labels: row.labels })
    }
}

/// As LogQL, which takes Go's strings, reads it.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
