//! Discovery of an entry's level, which Grafana's log volume and Logs Drilldown ask for as `detected_level`.
//!
//! What says it best wins: a field that is there for it, then a key of the line's JSON or logfmt, then the first word
//! of the line that names a level.

use memchr::{memchr, memchr_iter, memchr2, memchr2_iter, memchr3};

/// The name of the structured metadata that holds the level.
pub const DETECTED_LEVEL: &str = "detected_level";

// What stands behind the first pages of a line does not say its level, and is not worth the time.
const SEARCHED_BYTES_MAX: usize = 4 << 10;

// As Loki looks for it; deeper, a level is that of something else.
const JSON_DEPTH_MAX: i32 = 2;

// Names of levels in a field, but in a text they are words like any.
const NO_KEYWORDS: [&[u8]; 5] = [b"unknown", b"inf", b"alert", b"notice", b"emergency"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
    Fatal,
    Unknown,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Fatal => "fatal",
            Level::Unknown => "unknown",
        }
    }

    /// The level that a word names, in any case.
    pub fn named(word: &[u8]) -> Option<Level> {
        let mut lower = [0; 13];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trc" => Level::Trace,
            b"debug" | b"dbg" => Level::Debug,
            b"info" | b"inf" | b"information" | b"informational" | b"notice" => Level::Info,
            b"warn" | b"warning" | b"wrn" => Level::Warn,
            b"error" | b"err" => Level::Error,
            b"critical" | b"crit" | b"alert" => Level::Critical,
            b"fatal" | b"panic" | b"emerg" | b"emergency" => Level::Fatal,
            b"unknown" => Level::Unknown,
            _ => return None,
        })
    }

    /// OTLP's `SeverityNumber`; `None` of 0, which is "unspecified", and of what OTLP does not define.
    pub fn of_severity_number(number: i32) -> Option<Level> {
        Some(match number {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=20 => Level::Error,
            21..=24 => Level::Fatal,
            _ => return None,
        })
    }

    /// What a label or a piece of structured metadata says of the level.
    pub fn of_field(name: &str, value: &str) -> Option<Level> {
        if is_level_field(name.as_bytes()) {
            return Level::named(value.as_bytes());
        }
        match name {
            "severity_number" => Level::of_severity_number(value.parse().ok()?),
            _ => None,
        }
    }

    /// What the line itself says.
    pub fn of_line(line: &str) -> Level {
        let line = line.as_bytes();
        let line = line[..line.len().min(SEARCHED_BYTES_MAX)].trim_ascii_start();
        let told = match may_have_level_field(line) {
            true if line.starts_with(b"{") => of_json(line),
            true => of_logfmt(line),
            false => None,
        };
        told.or_else(|| of_words(line)).unwrap_or(Level::Unknown)
    }
}

/// The names that Loki's default configuration knows, in their usual spellings.
fn is_level_field(name: &[u8]) -> bool {
    // Asked of every name there is, of which few begin so.
    matches!(name.first(), Some(b'l' | b'L' | b's' | b'S' | b'd'))
        && matches!(
            name,
            b"level"
                | b"LEVEL"
                | b"Level"
                | b"log.level"
                | b"log_level"
                | b"loglevel"
                | b"lvl"
                | b"LVL"
                | b"Lvl"
                | b"severity"
                | b"SEVERITY"
                | b"Severity"
                | b"severity_text"
                | b"SeverityText"
                | b"detected_level"
        )
}

/// Whether a name that [`is_level_field`] knows may be in the line: each has one of `lvl`, `level` and `severity` in it,
/// in some case, and most lines have few letters `v`.
fn may_have_level_field(line: &[u8]) -> bool {
    let is_beside = |byte: Option<&u8>| matches!(byte, Some(b'e' | b'E' | b'l' | b'L'));
    memchr2_iter(b'v', b'V', line).any(|v| v > 0 && is_beside(line.get(v - 1)) && is_beside(line.get(v + 1)))
}

/// The value of a level's key in the line's outermost two objects. The line may be cut, or be no JSON after all.
fn of_json(line: &[u8]) -> Option<Level> {
    let (mut depth, mut at) = (0, 0);
    loop {
        at += memchr3(b'"', b'{', b'}', &line[at..])?;
        match line[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {
                let (text, end) = json_text(line, at)?;
                at = end;
                if depth <= JSON_DEPTH_MAX && is_level_field(text) {
                    let found = json_value(line, end).and_then(Level::named);
                    if found.is_some() {
                        return found;
                    }
                }
                continue;
            }
        }
        at += 1;
    }
}

/// The text whose quote is at `at`, escapes as they are, and where it ends.
fn json_text(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let begin = at + 1;
    let mut end = begin;
    loop {
        end += memchr2(b'"', b'\\', line.get(end..)?)?;
        if line[end] == b'"' {
            return Some((&line[begin..end], end + 1));
        }
        end += 2;
    }
}

/// The text behind the colon at `at`, if a colon and a text are there.
fn json_value(line: &[u8], at: usize) -> Option<&[u8]> {
    let skip_spaces =
        |at: usize| at + line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let colon = skip_spaces(at);
    if line.get(colon) != Some(&b':') {
        return None;
    }
    let value = skip_spaces(colon + 1);
    if line.get(value) != Some(&b'"') {
        return None;
    }
    json_text(line, value).map(|(text, _)| text)
}

/// The value of a level's key among `key=value` pairs.
fn of_logfmt(line: &[u8]) -> Option<Level> {
    memchr_iter(b'=', line).find_map(|equals| {
        let is_of_key = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        let key_len = line[..equals].iter().rev().take_while(is_of_key).count();
        if !is_level_field(&line[equals - key_len..equals]) {
            return None;
        }
        let value = &line[equals + 1..];
        let value = match value.strip_prefix(b"\"") {
            Some(quoted) => &quoted[..memchr(b'"', quoted)?],
            None => {
                let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b';');
                &value[..value.iter().position(is_end).unwrap_or(value.len())]
            }
        };
        Level::named(value)
    })
}

/// What the words begin with that name a level in a text.
const WORD_STARTS: [&[u8; 3]; 12] =
    [b"tra", b"trc", b"deb", b"dbg", b"inf", b"war", b"wrn", b"err", b"cri", b"fat", b"pan", b"eme"];

/// Of each byte, in either case, the starts of words in which it is the first, the second and the third letter, one bit a
/// start: so three look-ups tell of most places that no level begins there.
const STARTS_WITH: [[u16; 256]; 3] = {
    let mut starts = [[0; 256]; 3];
    let mut at = 0;
    while at < 3 * WORD_STARTS.len() {
        let (word, letter) = (at / 3, at % 3);
        let byte = WORD_STARTS[word][letter];
        starts[letter][byte as usize] |= 1 << word;
        starts[letter][byte.to_ascii_uppercase() as usize] |= 1 << word;
        at += 1;
    }
    starts
};

/// The first word that names a level; a word is all letters, digits and underscores that stand together.
fn of_words(line: &[u8]) -> Option<Level> {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let [firsts, seconds, thirds] = &STARTS_WITH;
    for (at, start) in line.array_windows::<3>().enumerate() {
        let [first, second, third] = start.map(usize::from);
        if firsts[first] & seconds[second] & thirds[third] == 0 || line[..at].last().is_some_and(is_of_word) {
            continue;
        }
        let len = line[at..].iter().take_while(|byte| is_of_word(byte)).count();
        let word = &line[at..at + len];
        if let Some(level) = Level::named(word)
            && !NO_KEYWORDS.iter().any(|other| word.eq_ignore_ascii_case(other))
        {
            return Some(level);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_tells_its_level_by_key_or_by_word() {
        let cases = [
            // JSON.
            (r#"{"level":"error","msg":"a"}"#, "error"),
            (r#"{"msg":"info here","level" : "WARNING"}"#, "warn"),
            (r#"{"time":1,"log":{"severity":"Debug"}}"#, "debug"),
            (r#"{"a":{"b":{"level":"error"}}}"#, "error"), // By the word, as deeper keys are not looked at.
            (r#"{"a":{"b":{"level":"quiet"}}}"#, "unknown"),
            (r#"{"msg":"level","a":"\"level\":\"error","level":"info"}"#, "info"),
            (r#"{"level":30,"msg":"trace it"}"#, "trace"),
            (r#"  {"lvl":"fatal"}"#, "fatal"),
            (r#"{"level":"#, "unknown"),
            (r#"}}{"level":"info"}"#, "info"),
            // logfmt.
            (r#"ts=1 level=warn msg="an error came""#, "warn"),
            (r#"ts=1 msg="level=info" lvl=err"#, "error"),
            (r#"severity="CRITICAL" a=b"#, "critical"),
            ("loglevel=info,x=1", "info"),
            (r#"level="info"#, "info"),
            ("level=", "unknown"),
            ("sublevel=error", "error"),
            // Words.
            ("2024-01-01 12:00:00 [ERROR] no such file", "error"),
            ("INFO: started", "info"),
            ("W: what", "unknown"),
            ("GET /informations error_count=0", "unknown"),
            ("took 5 ms; warning: slow", "warn"),
            ("a traceback and a debugger", "unknown"),
            ("kernel: panic", "fatal"),
            ("level unknown, then an error", "error"),
            ("", "unknown"),
            ("é error é", "error"),
        ];
        for (line, level) in cases {
            assert_eq!(Level::of_line(line).as_str(), level, "{line}");
        }
    }

    #[test]
    fn a_field_tells_the_level_by_name_or_number() {
        assert_eq!(Level::of_field("severity_text", "Information"), Some(Level::Info));
        assert_eq!(Level::of_field("severity_number", "24"), Some(Level::Fatal));
        assert_eq!(Level::of_field("severity_number", "0"), None);
        assert_eq!(Level::of_field("level", "high"), None);
        assert_eq!(Level::of_field("levels", "info"), None);
        assert_eq!(Level::named(b"somewhat longer than any"), None);
    }

    #[test]
    fn the_end_of_a_very_long_line_is_not_searched() {
        let line = |padding| format!("{} error", "x".repeat(padding));
        assert_eq!(Level::of_line(&line(SEARCHED_BYTES_MAX - 6)), Level::Error);
        assert_eq!(Level::of_line(&line(SEARCHED_BYTES_MAX)), Level::Unknown);
    }

    #[test]
    fn a_field_for_the_level_is_seen_from_afar() {
        let names = "level LEVEL Level log.level log_level loglevel lvl LVL Lvl severity SEVERITY Severity \
                     severity_text SeverityText detected_level";
        for name in names.split(' ') {
            assert!(is_level_field(name.as_bytes()) && may_have_level_field(name.as_bytes()), "{name}");
            assert_eq!(Level::of_line(&format!("{name}=fatal info")), Level::Fatal, "{name}");
        }
        assert!(!may_have_level_field(b"v /api/v1/x?curve=1 v"));
    }

    proptest! {
        #[test]
        fn the_first_word_that_names_a_level_is_found(
            words in prop::collection::vec(
                "[a-z0-9_]{1,4}|(?i:trace|trc|debug|dbg|info|inf|notice|warn|wrn|error|err|crit|alert|fatal|panic|emerg|unknown|informational)s?",
                0..6,
            ),
            gap in "[ .:é-]",
        ) {
            let named = |word: &&String| {
                let is_keyword = !NO_KEYWORDS.iter().any(|other| word.as_bytes().eq_ignore_ascii_case(other));
                Level::named(word.as_bytes()).filter(|_| is_keyword)
            };
            let line = words.join(&gap);
            prop_assert_eq!(of_words(line.as_bytes()), words.iter().find_map(|word| named(&word)), "{}", line);
        }

        #[test]
        fn any_line_has_a_level(line in r#"[ -~é"\\{}:=]{0,80}"#, head in prop::sample::select(vec!["", "{", r#"{"level":"#])) {
            Level::of_line(&format!("{head}{line}"));
        }
    }
}
