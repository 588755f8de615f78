//! `icecore check config` and `icecore check data`.

use super::CliError;
use super::config_args::ConfigArgs;
use crate::server;
use crate::storage::check::{CheckReport, Finding, check};

/// Prints the configuration in force, or fails with what is wrong in it.
pub fn config(args: &ConfigArgs) -> Result<(), CliError> {
    let config = args.load()?;
    server::storage_options(&config)?;
    let lines = config.entries().into_iter().map(|(key, value)| format!("{key} = {value}\n"));
    super::print(&lines.collect::<String>());
    Ok(())
}

/// Prints what is wrong in the data directory, or that nothing is.
pub fn data(args: &ConfigArgs) -> Result<(), CliError> {
    let options = server::storage_options(&args.load()?)?;
    let mut places = 0;
    let report = check(&options.data_dir, &options.tiers, &mut |finding| match finding {
        Finding::Damage(text) => {
            places += 1;
            super::print(&format!("damaged: {text}\n"));
        }
        Finding::Oddity(text) => super::print(&format!("noticed: {text}\n")),
    })?;
    super::print(&summary(&report));
    match places {
        0 => Ok(()),
        places => Err(CliError::Damaged { dir: options.data_dir, places }),
    }
}

fn summary(report: &CheckReport) -> String {
    let CheckReport { segments, segment_bytes, rows, generations, records } = report;
    format!(
        "read {segments} segments of {rows} rows in {segment_bytes} bytes, and {records} records in {generations} generations of the log\n"
    )
}
