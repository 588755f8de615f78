//! `icecore query`: asks a running server in PromQL, and prints its answer as a table, JSON or a plot. The questions
//! of --logs and --trace are asked elsewhere.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::answer::{Answer, Series};
use super::client::Client;
use super::{CliError, logs, plot, waterfall};
use crate::clock::Clock;
use crate::config::Setting;

/// The expression and how to ask.
#[derive(Args)]
pub struct QueryArgs {
    /// A PromQL expression, such as 'sum by (job) (rate(http_requests_total[5m]))'; with --logs one of LogQL, such as
    /// '{app="shop"} |= "error"'.
    #[arg(required_unless_present = "trace")]
    expr: Option<String>,
    /// Ask for logs. Entries are printed with their stream's labels, the newest last; --json shows all they have.
    #[arg(long)]
    logs: bool,
    /// Draw the trace with this id: its spans below their parents, on one axis of time.
    #[arg(long, value_name = "ID", conflicts_with_all = ["expr", "logs", "time", "start", "end", "step", "plot"])]
    pub trace: Option<String>,
    /// Evaluate at this instant instead of now: Unix seconds, RFC 3339, or -5m for five minutes ago.
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["start", "end", "step", "plot"])]
    pub time: Option<String>,
    /// Evaluate over a range that begins here [default: -1h].
    #[arg(long, allow_hyphen_values = true)]
    pub start: Option<String>,
    /// Where the range ends [default: now].
    #[arg(long, allow_hyphen_values = true)]
    pub end: Option<String>,
    /// With --logs: the range begins so long before its end [default: 1h].
    #[arg(long, requires = "logs", conflicts_with_all = ["start", "time"])]
    pub since: Option<String>,
    /// Time between two points of the range, such as 15s [default: a hundredth of the range].
    #[arg(long)]
    pub step: Option<String>,
    /// With --logs: the most entries to print [default: 100].
    #[arg(long, requires = "logs")]
    pub limit: Option<usize>,
    /// Print the server's JSON as it came.
    #[arg(long)]
    pub json: bool,
    /// Draw the range in the terminal.
    #[arg(long, conflicts_with = "json")]
    pub plot: bool,
    /// The server to ask.
    #[arg(long, default_value = "http://127.0.0.1:8365", env = "ICECORE_URL", hide_env = true)]
    pub url: String,
}

/// Longer names push their values out of the column.
const NAME_WIDTH_MAX: usize = 100;
const DEFAULT_RANGE_SECONDS: f64 = 3_600.0;
const DEFAULT_POINTS: f64 = 100.0;

pub fn run(args: &QueryArgs) -> Result<(), CliError> {
    if let Some(id) = &args.trace {
        return waterfall::run(args, id);
    }
    let now = Clock.now_ms() as f64 / 1_000.0;
    if args.logs {
        return logs::run(args, now);
    }
    let client = Client { url: &args.url, error_of };
    let body =
        if args.is_range() { ask_range(&client, args, now)? } else { ask_instant(&client, args, now)? };
    if args.json {
        super::print(&format!("{body}\n"));
        return Ok(());
    }
    present(&Answer::parse(&body).ok_or_else(|| client.misunderstood())?, args.plot);
    Ok(())
}

/// Prints values, and on stderr what there is to say about them.
pub fn present(answer: &Answer, plot: bool) {
    for text in &answer.annotations {
        eprintln!("icecore: {text}");
    }
    super::print(&if plot { plot::draw(&answer.series) } else { table(&answer.series) });
}

impl QueryArgs {
    /// Empty where a trace is asked for instead.
    pub fn expr(&self) -> &str {
        self.expr.as_deref().unwrap_or("")
    }

    pub fn is_range(&self) -> bool {
        let texts = [&self.start, &self.end, &self.step, &self.since];
        self.plot || texts.iter().any(|text| text.is_some())
    }
}

fn ask_instant(client: &Client, args: &QueryArgs, now: f64) -> Result<String, CliError> {
    let mut form = vec![("query", args.expr().to_owned())];
    if let Some(time) = &args.time {
        form.push(("time", absolute(time, now)));
    }
    client.post("/api/v1/query", &form, &[])
}

fn ask_range(client: &Client, args: &QueryArgs, now: f64) -> Result<String, CliError> {
    let end = args.end.as_ref().map_or_else(|| now.to_string(), |end| absolute(end, now));
    let start = args.start.as_ref().map_or_else(
        || (end.parse().unwrap_or(now) - DEFAULT_RANGE_SECONDS).to_string(),
        |start| absolute(start, now),
    );
    let step = args.step.clone().unwrap_or_else(|| {
        // Times in RFC 3339 are the server's to read; a range of them needs a step.
        let seconds = match (start.parse::<f64>(), end.parse::<f64>()) {
            (Ok(start), Ok(end)) => end - start,
            _ => DEFAULT_RANGE_SECONDS,
        };
        (seconds / DEFAULT_POINTS).ceil().max(1.0).to_string()
    });
    let form = [("query", args.expr().to_owned()), ("start", start), ("end", end), ("step", step)];
    client.post("/api/v1/query_range", &form, &[])
}

/// `-5m` is five minutes before `now`; all else is the server's to read.
pub fn absolute(text: &str, now: f64) -> String {
    let mut ago = Duration::ZERO;
    match text.strip_prefix('-').map(|rest| ago.set(rest)) {
        Some(Ok(())) => (now - ago.as_secs_f64()).to_string(),
        _ if text == "now" => now.to_string(),
        _ => text.to_owned(),
    }
}

/// The text in Prometheus's envelope of errors.
pub fn error_of(body: &str) -> Option<String> {
    let error = serde_json::from_str::<Value>(body).ok()?;
    error["error"].as_str().map(str::to_owned)
}

/// One line for each series of an instant, one for each point of a range.
fn table(series: &[Series]) -> String {
    if series.is_empty() {
        return "(no data)\n".to_owned();
    }
    let is_instant = series.iter().all(|series| series.points.len() == 1);
    let width =
        series.iter().map(|series| series.name.chars().count()).max().unwrap_or(0).min(NAME_WIDTH_MAX);
    let mut text = String::new();
    for series in series {
        if is_instant {
            text += &format!("{:width$}  {}\n", series.name, series.points[0].text);
            continue;
        }
        text += &format!("{}\n", series.name);
        for point in &series.points {
            text += &format!("  {}  {}\n", clock_time(point.seconds), point.text);
        }
    }
    text
}

/// UTC, to the second; milliseconds where there are any.
pub fn clock_time(seconds: f64) -> String {
    let ms = (seconds * 1_000.0).round() as i64;
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
