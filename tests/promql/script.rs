//! The script language: blocks of lines that load series or evaluate a query and say what must come out.

use crate::series::{Line, Series, Starts, parse_line};
use icecore::query::lexical::duration::parse_duration;

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
    let (word, rest) = line.split_once(char::is_whitespace).ok_or("eval without a query")?;
    let rest = rest.trim_start();
    let mut expect = Expect { ordered: word == "eval_ordered", ..Expect::default() };
    match word {
        "eval_fail" => expect.fails = true,
        "eval_warn" => expect.warnings.push(None),
        "eval_info" => expect.infos.push(None),
        _ => {}
    }
    let (when, query) = if let Some(rest) = rest.strip_prefix("instant") {
        let rest = rest.trim_start().strip_prefix("at").ok_or("instant without at")?.trim_start();
        let (at, query) = rest.split_once(char::is_whitespace).ok_or("no query")?;
        (When::Instant(duration(at)?), query)
    } else {
        let pattern =
            regex::Regex::new(r"^range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$").unwrap();
        let parts = pattern.captures(rest).ok_or_else(|| format!("no eval: {line}"))?;
        let ms = |i: usize| duration(&parts[i]);
        let query = parts.get(4).ok_or("no query")?.as_str();
        (When::Range { start: ms(1)?, end: ms(2)?, step_ms: ms(3)? }, query)
    };
    for line in block {
        expectation(&mut expect, line)?;
    }
    Ok(Eval { when, query: query.trim().to_owned(), expect })
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
        "string" => expect.string = Some(unquoted(rest)),
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

/// The content of a Go string; the scripts escape nothing but quotes, backslashes, newlines and tabs.
fn unquoted(text: &str) -> String {
    let inner = &text[1..text.len() - 1];
    if text.starts_with('`') {
        return inner.to_owned();
    }
    inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"").replace("\\\\", "\\")
}
