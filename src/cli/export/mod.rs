//! `icecore export`: what a running server holds, as text that `icecore import` and others take.
//!
//! It is asked for by remote read, piece by piece, so that nothing is held whole on either side.

mod json_lines;
mod openmetrics;
mod reading;
mod selection;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::CliError;
use super::client::Client;
use super::progress::Progress;
use super::query::{absolute, error_of};
use crate::clock::Clock;
use crate::model::Timestamp;
use reading::Reading;
use selection::Selection;

/// What to export, and as what.
#[derive(Args)]
pub struct ExportArgs {
    /// Export the series that this selects, such as '{job="api"}'; may be given several times [default: all].
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Begin here: Unix seconds, RFC 3339, or -5m for five minutes ago [default: the oldest sample].
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// End here, this instant included [default: the newest sample].
    #[arg(long, allow_hyphen_values = true)]
    end: Option<String>,
    /// What to write. JSON lines have everything to the bit; in OpenMetrics there is no word for stale markers and native
    /// histograms, which are left out and counted. Exemplars and start times are in neither.
    #[arg(long, value_enum, default_value_t = Format::Openmetrics)]
    format: Format,
    /// Write to this file instead of stdout.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
    /// The server to read from.
    #[arg(long, default_value = "http://127.0.0.1:8365", env = "ICECORE_URL", hide_env = true)]
    url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With TYPE, HELP and UNIT, all samples of a family together.
    Openmetrics,
    /// VictoriaMetrics' format, a piece of a series a line, all samples of a day together.
    Jsonl,
}

/// Where an export goes, and how far it is.
struct Output<'a> {
    out: Box<dyn Write + 'a>,
    written: Written,
    progress: Progress,
}

/// What was written, and what could not be.
#[derive(Default)]
struct Written {
    samples: u64,
    histograms_left_out: u64,
    stale_left_out: u64,
}

pub fn run(args: &ExportArgs) -> Result<(), CliError> {
    let client = Client { url: &args.url, error_of };
    let range = range(&client, args)?;
    let selection = Selection::parse(&client, &args.selectors)?;
    let reading = Reading { client: &client, range };
    let out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(|source| unwritten(args, source))?)),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let progress = Progress::new(None, args.quiet);
    let mut output = Output { out, written: Written::default(), progress };
    let ended = match args.format {
        Format::Openmetrics => openmetrics::write(&reading, &selection, &mut output),
        Format::Jsonl => json_lines::write(&reading, &selection, &mut output),
    };
    output.progress.clear();
    match ended.and_then(|()| Ok(output.out.flush()?)) {
        Ok(()) => {}
        // Who closed the pipe has read enough.
        Err(ExportError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(ExportError::Output(error)) => return Err(unwritten(args, error)),
        Err(ExportError::Server(error)) => return Err(error),
    }
    output.written.tell(args.quiet);
    Ok(())
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Server(#[from] CliError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

fn unwritten(args: &ExportArgs, source: io::Error) -> CliError {
    let name = args.output.as_ref().map_or("stdout".to_owned(), |path| path.to_string_lossy().into_owned());
    CliError::Output { name, source }
}

impl Written {
    fn tell(&self, is_quiet: bool) {
        if !is_quiet {
            eprintln!("icecore: {} samples", self.samples);
        }
        for (count, what) in
            [(self.histograms_left_out, "native histograms"), (self.stale_left_out, "stale markers")]
        {
            if count > 0 {
                eprintln!(
                    "icecore: {count} {what} were left out, as OpenMetrics has no word for them (--format jsonl)"
                );
            }
        }
    }
}

/// As asked for, within what the server has; both ends included.
fn range(client: &Client<'_>, args: &ExportArgs) -> Result<(Timestamp, Timestamp), CliError> {
    let status = ask(client, "/api/v1/status/tsdb?limit=1", &[])?;
    let known = |key: &str| status["headStats"][key].as_i64().ok_or_else(|| client.misunderstood());
    let (oldest, newest) = (known("minTime")?, known("maxTime")?);
    let given = |text: &Option<String>| text.as_ref().map(|text| millis(text)).transpose();
    let start = given(&args.start)?.unwrap_or(oldest).max(oldest);
    let end = given(&args.end)?.unwrap_or(newest).min(newest);
    Ok((start, end))
}

/// As `query` takes times, but read here.
fn millis(text: &str) -> Result<Timestamp, CliError> {
    let text = absolute(text, Clock.now_ms() as f64 / 1_000.0);
    let seconds = text.parse().ok().map(|seconds: f64| (seconds * 1_000.0).round() as Timestamp);
    let parsed = seconds.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()));
    parsed.ok_or_else(|| CliError::Usage(format!("{text} is no time: Unix seconds, RFC 3339, or -5m")))
}

/// The data of an answer of Prometheus's API.
fn ask(client: &Client<'_>, path: &str, form: &[(&str, String)]) -> Result<Value, CliError> {
    let body = if form.is_empty() { client.get(path)? } else { client.post(path, form, &[])? };
    let mut answer: Value = serde_json::from_str(&body).map_err(|_| client.misunderstood())?;
    Ok(answer["data"].take())
}
