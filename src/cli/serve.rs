//! `icecore serve`.

use tracing_subscriber::EnvFilter;

use super::CliError;
use super::config_args::ConfigArgs;
use crate::config::{Config, LogFormat, Setting};
use crate::server;

/// Runs the server until a signal ends it.
pub fn run(args: &ConfigArgs) -> Result<(), CliError> {
    let config = args.load()?;
    start_log(&config);
    server::run(&config)?;
    Ok(())
}

/// The log goes to stderr; stdout carries the start-up lines alone.
fn start_log(config: &Config) {
    let filter = EnvFilter::new(format!("{},h2=warn,hyper=warn", config.log_level.show()));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}
