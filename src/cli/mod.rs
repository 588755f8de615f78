//! The command line: each command a thin caller of the layers.

mod answer;
mod check;
mod client;
mod config_args;
mod export;
mod import;
mod logs;
mod plot;
mod progress;
mod query;
mod serve;
mod status;
mod terminal;
mod waterfall;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::ConfigError;
use crate::server::ServeError;
use crate::storage::check::CheckError;
use crate::storage::inspect::{self, InspectError};
use config_args::ConfigArgs;
use import::InputError;

/// Keeps metrics, logs and traces on one small machine and answers Grafana. Without a command: `serve`.
///
/// Every option is a flag, an environment variable and a key of the TOML file given by --config, in that order of
/// precedence; config.example.toml lists them all.
#[derive(Parser)]
#[command(name = "icecore", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ConfigArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (what `icecore` alone does).
    Serve(ConfigArgs),
    /// Check something without touching any data.
    Check {
        #[command(subcommand)]
        what: Check,
    },
    /// Ask a running server a PromQL question, with --logs a LogQL one, or with --trace for a trace.
    ///
    /// `icecore query 'up'` asks for this moment; --start, --end, --step or --plot ask for a range. `icecore query --logs
    /// '{app="shop"}'` prints the last entries of an hour, `icecore query --trace ID` draws where a request spent its time.
    Query(query::QueryArgs),
    /// Show what a running server holds: tiers, their spans of time and bytes, and what is still to be rolled up.
    Status(status::StatusArgs),
    /// Bring history into a running server: text with timestamps, JSON lines, blocks of Prometheus.
    ///
    /// `icecore import dump.om` sends what is in the file in batches, waits while the server is busy, and sums up at the end.
    /// Samples may be as old as the server keeps any. To import the same again does no harm where the server has the samples themselves; where it has
    /// rollups alone (`icecore status`), what comes twice counts twice.
    Import(import::ImportArgs),
    /// Write what a running server holds of metrics, as OpenMetrics or JSON lines.
    ///
    /// `icecore export --match '{job="api"}' --format jsonl -o api.jsonl` writes all samples of the selected series;
    /// `icecore import` takes either format. Of a time of which the server has rollups alone, the last sample of each bucket is written.
    Export(export::ExportArgs),
    /// Show any file of a data directory, or all of it, as text.
    ///
    /// Reads only and takes no lock, so that the server may be running. PATH is a segment, a file or a generation of
    /// the log, a MANIFEST, or the data directory.
    Inspect { path: PathBuf },
    /// Print the version.
    Version,
    /// Print a script that completes icecore's commands and options in a shell.
    Completions { shell: clap_complete::Shell },
}

#[derive(Subcommand)]
enum Check {
    /// Read the configuration as `serve` would, and print what is in force.
    Config(ConfigArgs),
    /// Read all of the data directory, and print what is damaged in it.
    ///
    /// Takes the options of `serve`, so that it knows where the data are. Reads only and takes no lock, so that the server
    /// may be running. Fails if there is damage.
    Data(ConfigArgs),
}

/// Why a command failed; each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("cannot reach {url}: {source}; is the server running? (--url)")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("{url} does not answer as Icecore does (--url)")]
    NotIcecore { url: String },
    #[error("{0}")]
    Refused(String),
    #[error("{}: {source}", terminal::printable(name))]
    Input { name: String, source: Box<InputError> },
    #[error("{}: cannot write: {source}", terminal::printable(name))]
    Output { name: String, source: io::Error },
    #[error("{refused} of {sent} samples were refused")]
    NotAll { refused: u64, sent: u64 },
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{}: damaged in {places} places; what they held is lost unless there is a backup, all else is served", dir.display())]
    Damaged { dir: PathBuf, places: usize },
}

impl CliError {
    /// 2: the caller must change something (usage, configuration, port, data directory). 1: all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) | CliError::Config(_) | CliError::Check(CheckError::NoData { .. }) => 2,
            CliError::Serve(error) => error.exit_code(),
            CliError::Unreachable { .. } | CliError::NotIcecore { .. } => 1,
            CliError::Refused(_) | CliError::Inspect(_) | CliError::Check(_) => 1,
            CliError::Input { .. } | CliError::Output { .. } | CliError::NotAll { .. } => 1,
            CliError::Damaged { .. } => 1,
        }
    }
}

/// Runs the command that `args` (the program's name first) ask for.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), CliError> {
    let cli = match Cli::command().try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help and version; who closed the pipe has read enough.
            let _ = error.print();
            return Ok(());
        }
        Err(error) => return Err(CliError::Usage(one_line(&error))),
    };
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(&args),
        Command::Check { what: Check::Config(args) } => check::config(&args),
        Command::Check { what: Check::Data(args) } => check::data(&args),
        Command::Query(args) => query::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Inspect { path } => show(&path),
        Command::Version => {
            print(&format!("icecore {}\n", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "icecore", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

/// Shows a file; who closed the pipe has read enough.
fn show(path: &Path) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = inspect::path(path, &mut out).and_then(|()| Ok(out.flush()?));
    match shown {
        Err(InspectError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes to stdout; who closed the pipe has read enough.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// clap's paragraphs as one line: what is wrong, which is the first, then its tip.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; icecore --help tells more".to_owned();
    }
    let text = error.render().to_string();
    let first: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let first = first.join(" ");
    let first = first.trim_start_matches("error: ");
    match text.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        Some(tip) => format!("{first} ({tip}); icecore --help tells more"),
        None => format!("{first}; icecore --help tells more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(args: &[&str]) -> (String, u8) {
        let error = run(args.iter().map(OsString::from)).unwrap_err();
        (error.to_string(), error.exit_code())
    }

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_usage_is_one_line_and_exit_code_two() {
        for (args, part) in [
            (&["icecore", "--wal.snyc", "off"][..], "unexpected argument '--wal.snyc'"),
            (&["icecore", "check", "config", "--wal.sync", "never"], "expected group, interval or off"),
            (&["icecore", "check", "config", "--config", "/no/such/file"], "/no/such/file: cannot read"),
            (&["icecore", "frobnicate"], "frobnicate"),
            (&["icecore", "query"], "not provided: <EXPR>;"),
            (&["icecore", "completions", "cmd"], "possible values: bash"),
            (&["icecore", "check"], "a command is missing"),
        ] {
            let (text, code) = error_of(args);
            assert!(text.contains(part) && text.lines().count() == 1, "{text}");
            assert_eq!(code, 2, "{text}");
        }
    }
}
