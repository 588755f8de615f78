//! `icecore import`: brings history into a running server, by remote write.
//!
//! Inputs are read one after the other, in bounded batches of which a few are in flight. A sample that is there already
//! changes nothing, so after an interruption one begins anew; but not in days of which only rollups are left, where samples
//! cannot be told apart and what comes twice counts twice.

mod input;
mod sender;
mod summary;

use clap::{Args, ValueEnum};

use super::CliError;
use super::client::Client;
use super::progress::Progress;
use crate::exchange::Batch;
pub use input::InputError;
use input::{Input, sources};
use sender::Outbox;

/// What to import, and where to.
#[derive(Args)]
pub struct ImportArgs {
    /// Files of OpenMetrics or Prometheus text with a timestamp on every line, or of JSON lines as `export` writes them,
    /// plain or gzipped; - is stdin. Or a block of a Prometheus TSDB, or a directory of them; what is not in a block yet, Prometheus's last hours, is not read.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// What the files are. By default their names tell (.om and .openmetrics, .prom, .jsonl), or else what is in them: JSON is seen at once, and of texts the first timestamp tells: one
    /// beyond 100,000,000,000 is in milliseconds, which is Prometheus's text format, others are OpenMetrics' seconds.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
    /// The server to write to.
    #[arg(long, default_value = "http://127.0.0.1:8365", env = "ICECORE_URL", hide_env = true)]
    url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text with timestamps in seconds.
    Openmetrics,
    /// Text with timestamps in milliseconds.
    Prometheus,
    /// JSON lines, as `export` and VictoriaMetrics write them.
    Jsonl,
}

pub fn run(args: &ImportArgs) -> Result<(), CliError> {
    let mut inputs = Vec::new();
    for path in &args.paths {
        inputs.extend(sources(path, args.format)?);
    }
    let total = inputs.iter().map(|source| source.bytes).sum();
    let mut progress = Progress::new(total, args.quiet);
    let client = Client { url: &args.url, error_of: super::query::error_of };
    let (tally, ended) = sender::sending(&client, |outbox| {
        let mut bytes_before = 0;
        for source in &inputs {
            let input = source.open()?;
            bytes_before +=
                import(input, outbox, |bytes| progress.update(bytes_before + bytes, outbox.stored()))?;
        }
        Ok(())
    });
    progress.clear();
    super::print(&tally.show());
    tally.tell_refusals();
    ended?;
    match tally.refused {
        0 => Ok(()),
        refused => Err(CliError::NotAll { refused, sent: tally.sent }),
    }
}

/// Sends all there is in an input; how many bytes that were.
fn import(mut input: Input, outbox: &Outbox, mut tell: impl FnMut(u64)) -> Result<u64, CliError> {
    loop {
        let mut batch = Batch::default();
        let filled = input.fill(&mut batch);
        // What stands before a mistake is good.
        if !batch.is_empty() {
            outbox.send(batch)?;
        }
        tell(input.bytes_read());
        if !filled? {
            input.finish();
            return Ok(input.bytes_read());
        }
    }
}
