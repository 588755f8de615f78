//! The configuration: every option once, in [`OPTIONS`], and from there as flag, environment variable and TOML key.
//!
//! Precedence: flag, environment, file, default. Only the server turns it into the layers' own `Options`.

mod file;
mod options;
mod rules;
mod tiers;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use options::{OPTIONS, OptionSpec};
pub use rules::{Rule, Rules};
pub use tiers::{Tier, Tiers};
pub use values::{ByteSize, Expected, LogFormat, LogLevel, Setting, TranslationStrategy, WalSync};

/// Every option's value; what each means stands in [`OPTIONS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub otlp_grpc: Option<SocketAddr>,
    pub otlp_http: Option<SocketAddr>,
    pub insecure_no_auth: bool,
    pub self_scrape: bool,
    pub self_scrape_interval: Duration,
    /// 0: one for each core.
    pub shards: u64,
    /// Names as given; only the server knows which there are.
    pub features: Vec<String>,
    pub wal_sync: WalSync,
    pub limits: Limits,
    pub query: Query,
    pub tiers: Tiers,
    pub retention: Retention,
    pub web: Web,
    pub seal: Seal,
    pub otlp: Otlp,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub body_bytes_max: ByteSize,
    pub bodies_bytes_max: ByteSize,
    pub decoded_bytes_max: ByteSize,
    pub series_max: u64,
    pub series_idle: Duration,
    pub new_series_burst: u64,
    pub new_series_per_second: u64,
    pub labels_max: u64,
    pub label_name_bytes_max: ByteSize,
    pub label_value_bytes_max: ByteSize,
    pub histogram_buckets_max: u64,
    pub line_bytes_max: ByteSize,
    pub stream_labels_max: u64,
    pub metadata_names_max: u64,
    pub metadata_bytes_max: ByteSize,
    pub span_bytes_max: ByteSize,
    pub ahead_max: Duration,
    pub delta_totals_max: u64,
    pub queued_batches_max: u64,
    pub disk_reserve: ByteSize,
    pub connections_max: u64,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub stall_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub timeout: Duration,
    pub samples_max: u64,
    pub series_max: u64,
    pub bytes_max: ByteSize,
    /// 0: a quarter of the machine's memory.
    pub total_bytes_max: ByteSize,
    /// `None`: as the machine's memory allows.
    pub cache_bytes: Option<ByteSize>,
    pub log_bytes_max: ByteSize,
    pub log_entries_max: u64,
    pub response_bytes_max: ByteSize,
    pub responses_bytes_max: ByteSize,
    pub concurrency_max: u64,
    pub lookback: Duration,
    pub log_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    pub rules: Rules,
    pub logs: Duration,
    pub traces: Duration,
    /// 0: no limit by size.
    pub size: ByteSize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Web {
    pub enable_admin_api: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Seal {
    pub samples: u64,
    pub memory: ByteSize,
    pub age: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    pub translation_strategy: TranslationStrategy,
    pub promote_resource_attributes: Vec<String>,
}

/// Why a configuration cannot be used. Each text names where the value came from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {reason}", path.display())]
    NotToml { path: PathBuf, line: usize, reason: String },
    #[error("{}:{line}: unknown key {key:?}{}", path.display(), did_you_mean(similar.as_deref()))]
    UnknownKey { path: PathBuf, line: usize, key: String, similar: Option<&'static str> },
    #[error("{origin}: {key} is {text:?}: {expected}")]
    BadValue { origin: String, key: &'static str, text: String, expected: Expected },
    #[error(
        "{key} {address} is reachable from other machines, and nobody is asked for a password: pass --insecure-no-auth to accept that, or listen on 127.0.0.1"
    )]
    Exposed { key: &'static str, address: SocketAddr },
    #[error("{key} must not be 0")]
    Zero { key: &'static str },
}

fn did_you_mean(similar: Option<&str>) -> String {
    similar.map_or(String::new(), |key| format!(" (did you mean {key:?}?)"))
}

/// An option's text and where it was found: the command line or the environment.
#[derive(Clone, Debug)]
pub struct Given {
    pub key: &'static str,
    pub text: String,
    pub origin: String,
}

impl Config {
    /// The values of `file`, overlaid by `given` (later entries win), checked as a whole.
    pub fn load(file: Option<&Path>, given: &[Given]) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        if let Some(path) = file {
            file::read_into(&mut config, path)?;
        }
        for Given { key, text, origin } in given {
            let option = options::find(key).expect("given options come from the same table");
            (option.field)(&mut config).set(text).map_err(|expected| ConfigError::BadValue {
                origin: origin.clone(),
                key,
                text: text.clone(),
                expected,
            })?;
        }
        config.check()?;
        Ok(config)
    }

    /// What no single value shows.
    fn check(&self) -> Result<(), ConfigError> {
        let listeners = [
            ("--listen", Some(self.listen)),
            ("--otlp-grpc", self.otlp_grpc),
            ("--otlp-http", self.otlp_http),
        ];
        for (key, address) in listeners {
            let exposed = address.filter(|a| !a.ip().is_loopback() && !self.insecure_no_auth);
            if let Some(address) = exposed {
                return Err(ConfigError::Exposed { key, address });
            }
        }
        let durations = [
            ("self-scrape-interval", self.self_scrape_interval),
            ("limits.series-idle", self.limits.series_idle),
            ("seal.age", self.seal.age),
            ("limits.header-timeout", self.limits.header_timeout),
            ("limits.body-timeout", self.limits.body_timeout),
            ("limits.stall-timeout", self.limits.stall_timeout),
            ("query.timeout", self.query.timeout),
            ("query.lookback-delta", self.query.lookback),
            ("retention.logs", self.retention.logs),
            ("retention.traces", self.retention.traces),
        ];
        let counts = [
            ("limits.max-connections", self.limits.connections_max),
            ("limits.max-queued-batches", self.limits.queued_batches_max),
            ("query.max-concurrency", self.query.concurrency_max),
            ("seal.samples", self.seal.samples),
        ];
        let mut zeros = durations
            .iter()
            .map(|(key, value)| (*key, value.is_zero()))
            .chain(counts.iter().map(|(key, value)| (*key, *value == 0)));
        match zeros.find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(ConfigError::Zero { key }),
            None => Ok(()),
        }
    }

    /// Up to this age anything of a sample is kept, and history filled in.
    pub fn longest_age(&self) -> Duration {
        let rules = self.retention.rules.as_slice().iter().map(|rule| rule.age);
        rules.chain([self.tiers.longest_age()]).max().expect("there is a first tier")
    }

    /// Every option's key and present value.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let mut config = self.clone();
        OPTIONS.iter().map(|option| (option.key, (option.field)(&mut config).show())).collect()
    }
}

#[cfg(test)]
mod tests;
