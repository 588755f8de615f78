//! `icecore query --logs`: asks in LogQL, and prints entries as lines or metric values as `query` does.

use serde_json::Value;

use super::CliError;
use super::answer::{Answer, annotations, name};
use super::client::Client;
use super::query::{QueryArgs, absolute, present};
use super::terminal::printable;

/// The server's own, told again so that people learn that there may be more.
const ENTRIES_DEFAULT: usize = 100;

pub fn run(args: &QueryArgs, now: f64) -> Result<(), CliError> {
    let client = Client { url: &args.url, error_of };
    let is_range = args.is_range() || (args.time.is_none() && selects_entries(args.expr()));
    let body = if is_range { ask_range(&client, args, now)? } else { ask_instant(&client, args, now)? };
    if args.json {
        super::print(&format!("{body}\n"));
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&body).map_err(|_| client.misunderstood())?;
    if answer["data"]["resultType"] != "streams" {
        let answer = Answer::parse(&body).ok_or_else(|| client.misunderstood())?;
        present(&answer, args.plot);
        return Ok(());
    }
    for text in annotations(&answer) {
        eprintln!("icecore: {text}");
    }
    let lines = lines(&answer).ok_or_else(|| client.misunderstood())?;
    if lines.len() >= args.limit.unwrap_or(ENTRIES_DEFAULT) {
        eprintln!("icecore: these are the newest {}, there may be more (--limit)", lines.len());
    }
    let text: String = lines.iter().map(Line::show).collect();
    super::print(if lines.is_empty() { "(no data)\n" } else { &text });
    Ok(())
}

/// Whether this is a selector with a pipeline and no metric expression: those begin with the name of a function, a
/// number or a sign.
fn selects_entries(expr: &str) -> bool {
    let begins = |line: &str| line.trim_start_matches(|c: char| c.is_whitespace() || c == '(').chars().next();
    let first = expr.lines().filter_map(begins).find(|first| *first != '#');
    first == Some('{')
}

fn ask_instant(client: &Client, args: &QueryArgs, now: f64) -> Result<String, CliError> {
    let mut form = vec![("query", args.expr().to_owned())];
    form.extend(args.time.as_ref().map(|time| ("time", absolute(time, now))));
    client.post("/loki/api/v1/query", &form, &[])
}

/// What is not said is the server's to choose: the last hour, a hundred entries.
fn ask_range(client: &Client, args: &QueryArgs, now: f64) -> Result<String, CliError> {
    let mut form = vec![("query", args.expr().to_owned())];
    for (name, time) in [("start", &args.start), ("end", &args.end)] {
        form.extend(time.as_ref().map(|time| (name, absolute(time, now))));
    }
    for (name, text) in [("since", &args.since), ("step", &args.step)] {
        form.extend(text.as_ref().map(|text| (name, text.clone())));
    }
    form.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    // Otherwise every entry with a trace id would be a stream of its own.
    let categorised = [("x-loki-response-encoding-flags", "categorize-labels")];
    client.post("/loki/api/v1/query_range", &form, &categorised)
}

/// Loki's errors are texts of one line.
fn error_of(body: &str) -> Option<String> {
    let is_text = !body.trim().is_empty() && body.lines().count() == 1 && !body.starts_with(['<', '{']);
    is_text.then(|| body.trim().to_owned())
}

struct Line {
    nanos: i64,
    /// Of its stream, as LogQL writes them.
    labels: String,
    text: String,
}

impl Line {
    fn show(&self) -> String {
        format!("{}  {}  {}\n", clock_time(self.nanos), self.labels, printable(&self.text))
    }
}

/// All entries, the newest last. `None` for what is not Loki's.
fn lines(answer: &Value) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    for stream in answer["data"]["result"].as_array()? {
        let labels = name(&stream["stream"])?;
        // They come newest first; of equal times the later one, too.
        for entry in stream["values"].as_array()?.iter().rev() {
            let nanos = entry.get(0)?.as_str()?.parse().ok()?;
            lines.push(Line { nanos, labels: labels.clone(), text: entry.get(1)?.as_str()?.to_owned() });
        }
    }
    lines.sort_by_key(|line| line.nanos);
    Some(lines)
}

/// UTC, to the millisecond.
fn clock_time(nanos: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanos.into());
    time.map_or_else(|_| nanos.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_told_from_a_metric_expression() {
        for (expr, expected) in [
            (r#"{app="a"} |= "b""#, true),
            ("  ( {app=\"a\"} )", true),
            ("# sum(\n\n {app=\"a\"}", true),
            (r#"sum(rate({app="a"}[1m]))"#, false),
            ("1 + 1", false),
            ("", false),
        ] {
            assert_eq!(selects_entries(expr), expected, "{expr}");
        }
    }

    #[test]
    fn lines_come_in_order_of_time_and_cannot_drive_the_terminal() {
        let answer = serde_json::json!({"data": {"resultType": "streams", "result": [
            {"stream": {"app": "a"}, "values": [
                ["1700000000000000002", "third", {}], ["1700000000000000002", "second\u{1b}[31m\n", {}],
            ]},
            {"stream": {"app": "b\u{7}"}, "values": [["1699999999999000000", "{\"first\": \"ü\"}", {}]]},
        ]}});
        let shown: String = lines(&answer).unwrap().iter().map(Line::show).collect();
        let expected = concat!(
            "2023-11-14T22:13:19.999Z  {app=\"b\\u{7}\"}  {\"first\": \"ü\"}\n",
            "2023-11-14T22:13:20.000Z  {app=\"a\"}  second\\u{1b}[31m\\n\n",
            "2023-11-14T22:13:20.000Z  {app=\"a\"}  third\n",
        );
        assert_eq!(shown, expected);
        assert!(lines(&serde_json::json!({"data": {"result": [{"stream": {}, "values": [[1]]}]}})).is_none());
    }

    #[test]
    fn a_page_of_another_server_is_no_error_of_ours() {
        assert_eq!(
            error_of("parse error at 1:2: unexpected }\n").unwrap(),
            "parse error at 1:2: unexpected }"
        );
        for body in ["", "<html>", "{\"status\":\"error\"}", "a\nb"] {
            assert_eq!(error_of(body), None, "{body}");
        }
    }
}
