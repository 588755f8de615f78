//! The script language: blocks of lines that load series or evaluate a query and say what must come out.

use crate::series::{Line, Series, Starts, parse_line};
use icecore::query::lexical::duration::parse_duration;
use icecore::query::lexical::strings::unquote;

/// A command and the line it begins on.
pub struct Command {
    pub line: usize,
    pub kind: CommandKind,
}

pub enum CommandKind {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
    /// What the runner does not know; its evals count as failed.
    Unsupported(String),
}

pub struct Load {
    pub step_ms: i64,
    pub with_nhcb: bool,
    pub series: Vec<Series>,
    pub starts: Vec<Starts>,
}

#[derive(Clone, Copy)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step_ms: i64 },
}

pub struct Eval {
    pub when: When,
    pub query: String,
    pub expect: Expect,
    /// What the script says below the query.
    pub expected_lines: Vec<String>,
}

impl Eval {
    pub fn asked_at(&self) -> When {
        self.expect.range_vector.map_or(self.when, |(_, to, _)| When::Instant(to))
    }
}

#[derive(Default)]
pub struct Expect {
    pub fails: bool,
    pub failure: Option<TextMatch>,
    pub warnings: Vec<Option<TextMatch>>,
    pub infos: Vec<Option<TextMatch>>,
    pub no_warning: bool,
    pub no_info: bool,
    pub ordered: bool,
    pub string: Option<String>,
    /// `expect range vector`: from, to, step.
    pub range_vector: Option<(i64, i64, i64)>,
    pub scalar: Option<f64>,
    pub series: Vec<Series>,
}

pub enum TextMatch {
    Exact(String),
    Regex(regex::Regex),
}

impl TextMatch {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            TextMatch::Exact(expected) => text == expected,
            TextMatch::Regex(regex) => regex.is_match(text),
        }
    }
}

/// The commands of a file. An empty line, or one that is a comment, ends a block.
pub fn commands(text: &str) -> Vec<Command> {
    let mut lines = text.lines().map(str::trim).enumerate().peekable();
    let mut commands = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut block = Vec::new();
        if !line.starts_with("clear") {
            while let Some((_, line)) = lines.next_if(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
                block.push(line);
                if line.parse::<f64>().is_ok() {
                    break;
                }
            }
        }
        let kind = command(line, &block).unwrap_or_else(CommandKind::Unsupported);
        commands.push(Command { line: number + 1, kind });
    }
    commands
}

fn command(line: &str, block: &[&str]) -> Result<CommandKind, String> {
    if line == "clear" {
        return Ok(CommandKind::Clear);
    }
    if line.starts_with("load") {
        return load(line, block).map(CommandKind::Load);
    }
    Ok(CommandKind::Eval(Box::new(eval(line, block)?)))
}

fn duration(text: &str) -> Result<i64, String> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    parse_duration(digits).map(|ms| sign * ms).ok_or_else(|| format!("no duration: {text}"))
}

fn load(line: &str, block: &[&str]) -> Result<Load, String> {
    let (word, step) = line.split_once(' ').ok_or("load without a step")?;
    let mut series: Vec<Series> = Vec::new();
    let mut starts: Vec<Starts> = Vec::new();
    // Starts stand directly before the samples they are of.
    let mut told: Option<Starts> = None;
    for line in block {
        let (labels, values) = match parse_line(line).map_err(|error| format!("{line}: {error}"))? {
            Line::Samples(series) => series,
            Line::Starts(_) if told.is_some() => return Err(format!("{line}: starts follow starts")),
            Line::Starts(found) => {
                told = Some(found);
                continue;
            }
        };
        if let Some(told) = told.take() {
            if told.0 != labels || told.1.len() != values.len() {
                return Err(format!("{line}: the starts before it are not of these samples"));
            }
            starts.push(told);
        }
        // The same labels twice in a load: the later line stands.
        series.retain(|(known, _)| *known != labels);
        series.push((labels, values));
    }
    if told.is_some() {
        return Err("start timestamps stand with no samples".to_owned());
    }
    Ok(Load { step_ms: duration(step.trim())?, with_nhcb: word == "load_with_nhcb", series, starts })
}

fn description(line: &str) -> Result<Series, String> {
    match parse_line(line).map_err(|error| format!("{line}: {error}"))? {
        Line::Samples(series) => Ok(series),
        Line::Starts(_) => Err(format!("{line}: start timestamps where values are expected")),
    }
}

fn eval(line: &str, block: &[&str]) -> Result<Eval, String> {
    let pattern = |text: &str| regex::Regex::new(text).expect("a good pattern");
    let instant = pattern(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+at\s+(.+?)\s+(.+)$");
    let range =
        pattern(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$");
    let (kind, when, query) = if let Some(parts) = instant.captures(line) {
        (parts.get(1), When::Instant(duration(&parts[2])?), parts[3].to_owned())
    } else if let Some(parts) = range.captures(line) {
        let ms = |i: usize| duration(&parts[i]);
        let when = When::Range { start: ms(2)?, end: ms(3)?, step_ms: ms(4)? };
        (parts.get(1), when, parts[5].to_owned())
    } else {
        return Err(format!("no eval: {line}"));
    };
    let mut expect = Expect::default();
    match kind.map(|kind| kind.as_str()) {
        Some("fail") => expect.fails = true,
        Some("warn") => expect.warnings.push(None),
        Some("info") => expect.infos.push(None),
        Some(_) => expect.ordered = true,
        None => {}
    }
    for line in block {
        expectation(&mut expect, line)?;
    }
    if let When::Range { start, end, step_ms } = when {
        let steps = (end - start) / step_ms + 1;
        if let Some((labels, values)) = expect.series.iter().find(|(_, values)| values.len() as i64 > steps) {
            return Err(format!("{labels}: {} values for {steps} steps", values.len()));
        }
    }
    let expected_lines = block.iter().map(|line| (*line).to_owned()).collect();
    Ok(Eval { when, query, expect, expected_lines })
}

fn expectation(expect: &mut Expect, line: &str) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("expect ") {
        return directive(expect, rest.trim());
    }
    if let Some(text) = line.strip_prefix("expected_fail_message ") {
        expect.failure = Some(TextMatch::Exact(text.trim().to_owned()));
        return Ok(());
    }
    if let Some(text) = line.strip_prefix("expected_fail_regexp ") {
        expect.failure = Some(TextMatch::Regex(regex::Regex::new(text.trim()).map_err(|e| e.to_string())?));
        return Ok(());
    }
    if let Ok(number) = line.parse::<f64>() {
        expect.scalar = Some(number);
        return Ok(());
    }
    expect.series.push(description(line)?);
    Ok(())
}

fn directive(expect: &mut Expect, text: &str) -> Result<(), String> {
    if let Some(rest) = text.strip_prefix("range vector ") {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let ["from", from, "to", to, "step", step] = words[..] else { return Err(format!("expect {text}")) };
        expect.range_vector = Some((duration(from)?, duration(to)?, duration(step)?));
        return Ok(());
    }
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match kind {
        "fail" => {
            expect.fails = true;
            expect.failure = text_match(rest)?;
        }
        "warn" => expect.warnings.push(text_match(rest)?),
        "info" => expect.infos.push(text_match(rest)?),
        "no_warn" => expect.no_warning = true,
        "no_info" => expect.no_info = true,
        "ordered" => expect.ordered = true,
        "string" => expect.string = Some(unquoted(rest)?),
        _ => return Err(format!("expect {text}")),
    }
    Ok(())
}

fn text_match(text: &str) -> Result<Option<TextMatch>, String> {
    if let Some(exact) = text.strip_prefix("msg:") {
        return Ok(Some(TextMatch::Exact(exact.trim().to_owned())));
    }
    if let Some(pattern) = text.strip_prefix("regex:") {
        let regex = regex::Regex::new(pattern.trim()).map_err(|e| e.to_string())?;
        return Ok(Some(TextMatch::Regex(regex)));
    }
    if text.is_empty() { Ok(None) } else { Err(format!("neither msg nor regex: {text}")) }
}

/// The content of a Go string.
fn unquoted(text: &str) -> Result<String, String> {
    let (bytes, len) = unquote(text).map_err(|error| error.message)?;
    if len != text.len() {
        return Err(format!("more than a string: {text}"));
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
