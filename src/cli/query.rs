//! `icecore query`: asks a running server over HTTP, and prints its answer as a table, JSON or a plot.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::CliError;
use super::answer::{Answer, Series};
use super::plot;
use crate::clock::Clock;
use crate::config::Setting;

/// The expression and how to ask.
#[derive(Args)]
pub struct QueryArgs {
    /// A PromQL expression, such as 'sum by (job) (rate(http_requests_total[5m]))'.
    expr: String,
    /// Evaluate at this instant instead of now: Unix seconds, RFC 3339, or -5m for five minutes ago.
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["start", "end", "step", "plot"])]
    time: Option<String>,
    /// Evaluate over a range that begins here [default: -1h].
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// Where the range ends [default: now].
    #[arg(long, allow_hyphen_values = true)]
    end: Option<String>,
    /// Time between two points of the range, such as 15s [default: a hundredth of the range].
    #[arg(long)]
    step: Option<String>,
    /// Print the server's JSON as it came.
    #[arg(long)]
    json: bool,
    /// Draw the range in the terminal.
    #[arg(long, conflicts_with = "json")]
    plot: bool,
    /// The server to ask.
    #[arg(long, default_value = "http://127.0.0.1:8365", env = "ICECORE_URL", hide_env = true)]
    url: String,
}

/// Beyond the server's own time-out, so that its error is what people see.
const PATIENCE: Duration = Duration::from_secs(150);
/// The longest answer the server gives by default.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Longer names push their values out of the column.
const NAME_WIDTH_MAX: usize = 100;
const DEFAULT_RANGE_SECONDS: f64 = 3_600.0;
const DEFAULT_POINTS: f64 = 100.0;

pub fn run(args: &QueryArgs) -> Result<(), CliError> {
    let now = Clock.now_ms() as f64 / 1_000.0;
    let body = if args.is_range() { ask_range(args, now)? } else { ask_instant(args, now)? };
    if args.json {
        super::print(&format!("{body}\n"));
        return Ok(());
    }
    let answer = Answer::parse(&body).ok_or_else(|| CliError::NotPrometheus { url: args.url.clone() })?;
    for text in &answer.annotations {
        eprintln!("icecore: {text}");
    }
    let text = if args.plot { plot::draw(&answer.series) } else { table(&answer.series) };
    super::print(&text);
    Ok(())
}

impl QueryArgs {
    fn is_range(&self) -> bool {
        self.plot || self.start.is_some() || self.end.is_some() || self.step.is_some()
    }
}

fn ask_instant(args: &QueryArgs, now: f64) -> Result<String, CliError> {
    let mut form = vec![("query", args.expr.clone())];
    if let Some(time) = &args.time {
        form.push(("time", absolute(time, now)));
    }
    post(&args.url, "query", &form)
}

fn ask_range(args: &QueryArgs, now: f64) -> Result<String, CliError> {
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
    let form = [("query", args.expr.clone()), ("start", start), ("end", end), ("step", step)];
    post(&args.url, "query_range", &form)
}

/// `-5m` is five minutes before `now`; all else is the server's to read.
fn absolute(text: &str, now: f64) -> String {
    let mut ago = Duration::ZERO;
    match text.strip_prefix('-').map(|rest| ago.set(rest)) {
        Some(Ok(())) => (now - ago.as_secs_f64()).to_string(),
        _ if text == "now" => now.to_string(),
        _ => text.to_owned(),
    }
}

fn post(url: &str, endpoint: &str, form: &[(&str, String)]) -> Result<String, CliError> {
    let mut body = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form {
        body.append_pair(name, value);
    }
    let config =
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
    let unreachable = |source| CliError::Unreachable { url: url.to_owned(), source: Box::new(source) };
    let mut response = ureq::Agent::from(config)
        .post(format!("{}/api/v1/{endpoint}", url.trim_end_matches('/')))
        .content_type("application/x-www-form-urlencoded")
        .send(body.finish())
        .map_err(unreachable)?;
    let text =
        response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
    if response.status().is_success() {
        return Ok(text);
    }
    let error = serde_json::from_str::<Value>(&text).ok();
    let message = error.as_ref().and_then(|error| error["error"].as_str());
    match message {
        Some(message) => Err(CliError::Refused(message.to_owned())),
        None => Err(CliError::NotPrometheus { url: url.to_owned() }),
    }
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
