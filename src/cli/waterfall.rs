//! `icecore query --trace`: a trace in the terminal, each span a line below its parent and a bar on one axis of time.

use std::collections::HashMap;

use serde_json::Value;

use super::CliError;
use super::client::Client;
use super::query::{QueryArgs, clock_time};
use super::terminal::printable;

/// Where the output is no terminal.
const COLUMNS_DEFAULT: usize = 100;
/// Narrower than this there is no room for names and bars.
const COLUMNS_MIN: usize = 60;
/// Offset and duration of a span.
const TIME_COLUMNS: usize = 9;
/// What a parent's children are moved to the right.
const INDENT: usize = 2;
/// Deeper spans are not moved any further.
const INDENTS_MAX: usize = 12;

pub fn run(args: &QueryArgs, id: &str) -> Result<(), CliError> {
    // The server reads ids as well; this keeps what is none out of the path.
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(CliError::Usage(format!("{} is not the id of a trace: hex digits", printable(id))));
    }
    let client = Client { url: &args.url, error_of };
    let body = client.get(&format!("/jaeger/api/traces/{id}"))?;
    if args.json {
        super::print(&format!("{body}\n"));
        return Ok(());
    }
    let spans = spans(&body).ok_or_else(|| client.misunderstood())?;
    super::print(&draw(id, &spans, columns()));
    Ok(())
}

/// The first text in Jaeger's list of errors.
fn error_of(body: &str) -> Option<String> {
    let error = serde_json::from_str::<Value>(body).ok()?;
    error["errors"][0]["msg"].as_str().map(|text| printable(text).into_owned())
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS_DEFAULT } else { columns.max(COLUMNS_MIN) }
}

/// One line of the drawing.
struct Span {
    id: String,
    parent: String,
    service: String,
    name: String,
    start_us: i64,
    duration_us: i64,
    /// What it says about its failure, if it failed.
    error: Option<String>,
}

/// The spans of the first trace in a Jaeger answer, by start. `None` for what is no such answer, or has no spans.
fn spans(body: &str) -> Option<Vec<Span>> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let trace = &answer["data"][0];
    let read = |span: &Value| {
        let process = span["processID"].as_str()?;
        let references = span["references"].as_array()?;
        let parent = references.iter().find(|reference| reference["refType"] == "CHILD_OF");
        let tags = span["tags"].as_array()?;
        let tag = |key: &str| tags.iter().find(|tag| tag["key"] == key).map(|tag| &tag["value"]);
        let message = || tag("otel.status_description").and_then(Value::as_str).unwrap_or("");
        let has_failed = tag("error").is_some_and(|error| *error == true || *error == "true");
        Some(Span {
            id: span["spanID"].as_str()?.to_owned(),
            parent: parent.and_then(|parent| parent["spanID"].as_str()).unwrap_or("").to_owned(),
            service: cell(trace["processes"][process]["serviceName"].as_str()?),
            name: cell(span["operationName"].as_str()?),
            start_us: span["startTime"].as_i64()?,
            duration_us: span["duration"].as_i64()?,
            error: has_failed.then(|| cell(message())),
        })
    };
    let mut spans = trace["spans"].as_array()?.iter().map(read).collect::<Option<Vec<Span>>>()?;
    spans.sort_by_key(|span| span.start_us);
    if spans.is_empty() { None } else { Some(spans) }
}

/// Text of others that takes as many columns as it has characters.
fn cell(text: &str) -> String {
    printable(text).replace('\t', " ")
}

fn draw(id: &str, spans: &[Span], columns: usize) -> String {
    let start = spans.iter().map(|span| span.start_us).min().unwrap_or(0);
    let end = spans.iter().map(|span| span.start_us.saturating_add(span.duration_us)).max().unwrap_or(start);
    let axis = Axis { start, length: end.saturating_sub(start).max(1), columns: columns / 3 };
    let label_columns = columns - axis.columns - 2 * (TIME_COLUMNS + 1) - 2;
    let mut text = heading(id, spans, &axis);
    text += &format!(
        "{:label_columns$} {:>TIME_COLUMNS$} {:>TIME_COLUMNS$}\n",
        "SERVICE AND SPAN", "OFFSET", "DURATION"
    );
    for (span, depth) in in_tree(spans) {
        let indent = " ".repeat(INDENT * depth.min(INDENTS_MAX));
        let mark = if span.error.is_some() { "! " } else { "" };
        let label = cut(&format!("{indent}{mark}{}  {}", span.service, span.name), label_columns);
        let (offset, duration) = (short(span.start_us.saturating_sub(start)), short(span.duration_us));
        let bar = axis.bar(span);
        text += &format!("{label:label_columns$} {offset:>TIME_COLUMNS$} {duration:>TIME_COLUMNS$} |{bar}\n");
        if let Some(message) = span.error.as_ref().filter(|message| !message.is_empty()) {
            text += &format!("{}\n", cut(&format!("{indent}  {message}"), columns));
        }
    }
    text
}

fn heading(id: &str, spans: &[Span], axis: &Axis) -> String {
    let mut services: Vec<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    let failed = spans.iter().filter(|span| span.error.is_some()).count();
    let began = clock_time(axis.start as f64 / 1e6);
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "trace {id}\n{began}  {}  {}, {}, {}\n",
        short(axis.length),
        counted(spans.len(), "span"),
        counted(services.len(), "service"),
        counted(failed, "error")
    )
}

/// Where on the line a time is.
struct Axis {
    start: i64,
    length: i64,
    columns: usize,
}

impl Axis {
    /// At least one character, and none beyond the axis; `x` for a failure.
    fn bar(&self, span: &Span) -> String {
        let cell = |time_us: i64| {
            let share = time_us.saturating_sub(self.start) as f64 / self.length as f64;
            (share * self.columns as f64).clamp(0.0, self.columns as f64)
        };
        let from = (cell(span.start_us) as usize).min(self.columns - 1);
        let until = cell(span.start_us.saturating_add(span.duration_us)).ceil() as usize;
        let sign = if span.error.is_some() { "x" } else { "=" };
        " ".repeat(from) + &sign.repeat(until.saturating_sub(from).max(1))
    }
}

/// Spans below their parents, those of one parent by start, with how deep they are. Whose parent is not there stands at
/// the top; so does the first of spans whose parents go round in a circle.
fn in_tree(spans: &[Span]) -> Vec<(&Span, usize)> {
    let known: HashMap<&str, usize> =
        spans.iter().enumerate().rev().map(|(i, span)| (span.id.as_str(), i)).collect();
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    let mut tops = Vec::new();
    for (i, span) in spans.iter().enumerate() {
        match known.get(span.parent.as_str()) {
            Some(parent) if *parent != i => below[*parent].push(i),
            _ => tops.push(i),
        }
    }
    let (mut placed, mut lines) = (vec![false; spans.len()], Vec::with_capacity(spans.len()));
    for top in tops.into_iter().chain(0..spans.len()) {
        let mut open = vec![(top, 0)];
        while let Some((i, depth)) = open.pop() {
            if std::mem::replace(&mut placed[i], true) {
                continue;
            }
            lines.push((&spans[i], depth));
            open.extend(below[i].iter().rev().map(|child| (*child, depth + 1)));
        }
    }
    lines
}

/// At most so many characters.
fn cut(text: &str, columns: usize) -> String {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['~']).collect(),
        false => text.to_owned(),
    }
}

/// Three or four digits, and a unit.
fn short(micros: i64) -> String {
    match micros {
        ..=0 => "0".to_owned(),
        1..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{:.2}ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.2}s", micros as f64 / 1e6),
        60_000_000..3_600_000_000 => format!("{}m{:02}s", micros / 60_000_000, micros / 1_000_000 % 60),
        _ => format!("{}h{:02}m", micros / 3_600_000_000, micros / 60_000_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> String {
        let span = |id: &str, parent: &str, process: &str, name: &str, start: i64, duration: i64| {
            let reference = json!({"refType": "CHILD_OF", "traceID": "1f", "spanID": parent});
            let references = if parent.is_empty() { json!([]) } else { json!([reference]) };
            json!({"spanID": id, "references": references, "operationName": name, "startTime": start,
                "duration": duration, "tags": [], "processID": process})
        };
        let mut failed = span("b", "a", "p2", "select\u{1b}[31m", 1_700_000_000_050_000, 100_000);
        failed["tags"] = json!([
            {"key": "error", "type": "bool", "value": true},
            {"key": "otel.status_description", "type": "string", "value": "dead\nlock"},
        ]);
        json!({"data": [{"spans": [
            span("c", "b", "p2", "read", 1_700_000_000_100_000, 500),
            failed,
            span("a", "", "p1", "POST /checkout", 1_700_000_000_000_000, 200_000),
            span("d", "lost", "p1", "a name that is far too long for the column it has to be shown in", 1_700_000_000_199_999, 1),
        ], "processes": {"p1": {"serviceName": "shop"}, "p2": {"serviceName": "db"}}}]})
        .to_string()
    }

    #[test]
    fn a_trace_is_drawn_as_a_waterfall() {
        let expected = "\
trace 1f
2023-11-14T22:13:20Z  200.0ms  4 spans, 2 services, 1 error
SERVICE AND SPAN                    OFFSET  DURATION
shop  POST /checkout                     0   200.0ms |==========================
  ! db  select\\u{1b}[31m            50.0ms   100.0ms |      xxxxxxxxxxxxxx
    dead\\nlock
    db  read                       100.0ms     500us |             =
shop  a name that is far too lo~   200.0ms       1us |                         =
";
        assert_eq!(draw("1f", &spans(&answer()).unwrap(), 80), expected);
    }

    #[test]
    fn circles_end_and_nothing_is_drawn_twice() {
        let span = |id: &str, parent: &str| Span {
            id: id.to_owned(),
            parent: parent.to_owned(),
            service: String::new(),
            name: String::new(),
            start_us: i64::MAX,
            duration_us: i64::MAX,
            error: None,
        };
        let spans = [span("a", "b"), span("b", "a"), span("c", "c"), span("a", "")];
        let tree: Vec<_> = in_tree(&spans).iter().map(|(span, depth)| (span.id.clone(), *depth)).collect();
        let expected = [("c", 0), ("a", 0), ("a", 0), ("b", 1)].map(|(id, depth)| (id.to_owned(), depth));
        assert_eq!(tree, expected);
        assert!(draw("1", &spans, 60).lines().skip(2).all(|line| line.chars().count() <= 60));
    }

    #[test]
    fn times_are_short() {
        for (micros, text) in [
            (0, "0"),
            (999, "999us"),
            (1_234, "1.23ms"),
            (123_456, "123.5ms"),
            (1_500_000, "1.50s"),
            (61_000_000, "1m01s"),
            (i64::MAX, "2562047788h00m"),
        ] {
            assert_eq!(short(micros), text);
        }
    }

    #[test]
    fn what_is_no_jaeger_answer_is_not_drawn() {
        for body in ["", "{}", r#"{"data":[]}"#, r#"{"data":[{"spans":[]}]}"#, r#"{"data":[{"spans":[{}]}]}"#]
        {
            assert!(spans(body).is_none(), "{body}");
        }
    }
}
