//! The table of options: the one place that knows each option's key, place, placeholder and effect.
//!
//! Key `limits.max-series` is the flag `--limits.max-series`, the variable `ICECORE_LIMITS_MAX_SERIES` and the TOML
//! key `max-series` of the table `[limits]`. Keys without a dot come first, and those of one table stand together.

use std::time::Duration;

use super::rules::Rules;
use super::tiers::Tiers;
use super::values::{ByteSize, LogFormat, LogLevel, Setting, TranslationStrategy, WalSync};
use super::{Config, Limits, Otlp, Query, Retention, Seal, Web};

/// One option.
pub struct OptionSpec {
    pub key: &'static str,
    /// What `--help` calls the value.
    pub placeholder: &'static str,
    /// Its effect, as `--help` and `config.example.toml` tell it.
    pub effect: &'static str,
    pub field: fn(&mut Config) -> &mut dyn Setting,
}

impl OptionSpec {
    pub fn environment_variable(&self) -> String {
        format!("ICECORE_{}", self.key.replace(['.', '-'], "_").to_uppercase())
    }

    /// The TOML table, `""` for the top, and the key in it.
    pub fn toml_place(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    pub fn default_text(&self) -> String {
        (self.field)(&mut Config::default()).show()
    }
}

/// The option with this key.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key == key)
}

macro_rules! options {
    ($($key:literal $placeholder:ident $($field:ident).+ : $effect:literal;)+) => {
        &[$(OptionSpec {
            key: $key,
            placeholder: stringify!($placeholder),
            effect: $effect,
            field: |config| &mut config.$($field).+,
        }),+]
    };
}

#[rustfmt::skip]
pub const OPTIONS: &[OptionSpec] = options! {
    "data-dir" PATH data_dir: "Where everything is kept";
    "listen" ADDRESS listen: "Where every API is served: HTTP, and OTLP/gRPC through HTTP/2";
    "otlp-grpc" ADDRESS otlp_grpc: "OTLP's own gRPC port, or off";
    "otlp-http" ADDRESS otlp_http: "OTLP's own HTTP port, or off";
    "insecure-no-auth" BOOL insecure_no_auth: "Allow addresses beyond loopback, though nobody is asked for a password";
    "self-scrape" BOOL self_scrape: "Keep the server's own metrics in its own store";
    "self-scrape-interval" TIME self_scrape_interval: "How often it does that";
    "shards" COUNT shards: "Writer threads, each with its own series; 0 is one for each core";
    "tiers" TIERS tiers: "How long samples are kept as sent and in coarser resolutions: RESOLUTION:AGE or RESOLUTION:AGE:DIRECTORY, from fine to coarse; late samples are accepted up to the first age";
    "enable-feature" NAMES features: "Feature flags of Prometheus, separated by commas, such as promql-experimental-functions";

    "wal.sync" MODE wal_sync: "When a write is on disk: group (before its answer), interval (within a second), off";

    "limits.max-body-bytes" SIZE limits.body_bytes_max: "Largest request body as sent";
    "limits.max-bodies-bytes" SIZE limits.bodies_bytes_max: "All request bodies in flight together";
    "limits.max-decoded-bytes" SIZE limits.decoded_bytes_max: "Largest request body once decompressed";
    "limits.max-series" COUNT limits.series_max: "Active series; beyond it new ones are refused, existing ones still written";
    "limits.series-idle" TIME limits.series_idle: "Time without a sample after which a series is no longer active";
    "limits.new-series-burst" COUNT limits.new_series_burst: "New series accepted at once";
    "limits.new-series-per-second" COUNT limits.new_series_per_second: "New series a second after the burst";
    "limits.max-labels" COUNT limits.labels_max: "Labels of one series";
    "limits.max-label-name-bytes" SIZE limits.label_name_bytes_max: "Length of a label name";
    "limits.max-label-value-bytes" SIZE limits.label_value_bytes_max: "Length of a label value";
    "limits.max-histogram-buckets" COUNT limits.histogram_buckets_max: "Buckets of one histogram, quantiles of one summary";
    "limits.max-line-bytes" SIZE limits.line_bytes_max: "Length of a log line";
    "limits.max-stream-labels" COUNT limits.stream_labels_max: "Labels of one pushed stream of log entries, service_name not counted";
    "limits.max-metadata-names" COUNT limits.metadata_names_max: "Names of structured metadata of one log entry";
    "limits.max-metadata-bytes" SIZE limits.metadata_bytes_max: "Length of all structured metadata of one log entry";
    "limits.max-span-bytes" SIZE limits.span_bytes_max: "Length of one span";
    "limits.max-ahead" TIME limits.ahead_max: "How far a timestamp may lie ahead of the clock";
    "limits.max-delta-totals" COUNT limits.delta_totals_max: "Running totals kept for series sent as deltas; the longest idle go first";
    "limits.max-queued-batches" COUNT limits.queued_batches_max: "Batches that may wait for one writer thread";
    "limits.disk-reserve" SIZE limits.disk_reserve: "Writes are refused while less than this is free on the disk";
    "limits.max-connections" COUNT limits.connections_max: "Connections open at once on each port";
    "limits.header-timeout" TIME limits.header_timeout: "How long a request's headers may take";
    "limits.body-timeout" TIME limits.body_timeout: "How long a request's body may take";
    "limits.stall-timeout" TIME limits.stall_timeout: "How long a client may take nothing of its answer";

    "query.timeout" TIME query.timeout: "How long a query may take, its wait for a free worker included";
    "query.max-samples" COUNT query.samples_max: "Samples one query may read";
    "query.max-series" COUNT query.series_max: "Series one query may select";
    "query.max-bytes" SIZE query.bytes_max: "Memory one query may hold";
    "query.max-total-bytes" SIZE query.total_bytes_max: "Memory all running queries may hold together; 0 is a quarter of the machine's, or of the cgroup's";
    "query.cache-bytes" SIZE query.cache_bytes: "Memory for answers to PromQL range queries that are asked again; auto is a 64th of the machine's, or of the cgroup's (8MiB to 256MiB), 0 keeps none";
    "query.max-log-bytes" SIZE query.log_bytes_max: "Bytes of log lines one query may scan";
    "query.max-log-entries" COUNT query.log_entries_max: "Log entries one query may ask for";
    "query.max-response-bytes" SIZE query.response_bytes_max: "Length of an answer before compression";
    "query.max-responses-bytes" SIZE query.responses_bytes_max: "All answers in flight together";
    "query.max-concurrency" COUNT query.concurrency_max: "Queries evaluated at once, light ones aside; more wait, and too many are refused";
    "query.lookback-delta" TIME query.lookback: "How far back an instant selector looks for its sample";
    "query.log-file" PATH query.log_file: "A line of JSON for each query goes there, or off; SIGHUP opens it anew";

    "retention.rules" RULES retention.rules: "Series kept for less or for more than the tiers keep all, as SELECTOR:AGE separated by commas, such as {env=\"prod\"}:400d, {env=\"dev\"}:7d; the first that matches counts";
    "retention.logs" TIME retention.logs: "Age up to which log entries are kept and accepted";
    "retention.traces" TIME retention.traces: "Age up to which spans are kept and accepted";
    "retention.size" SIZE retention.size: "Bytes on disk beyond which the oldest data go first; 0 is no such limit";

    "web.enable-admin-api" BOOL web.enable_admin_api: "Let everybody who reaches --listen delete series (/api/v1/admin/tsdb/delete_series)";

    "seal.samples" COUNT seal.samples: "The head becomes a segment at this many samples (and twelve for each of its series),";
    "seal.memory" SIZE seal.memory: "or at this much memory beyond 64 bytes for each of its series,";
    "seal.age" TIME seal.age: "or at this age, whichever comes first";

    "otlp.translation-strategy" NAME otlp.translation_strategy: "How OTLP names become Prometheus names";
    "otlp.promote-resource-attributes" NAMES otlp.promote_resource_attributes: "Resource attributes that become labels of every series, separated by commas";

    "log.level" LEVEL log_level: "error, warn, info, debug or trace";
    "log.format" FORMAT log_format: "text or json, on stderr";
};

impl Default for Config {
    fn default() -> Config {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        Config {
            data_dir: "./icecore-data".into(),
            listen: ([127, 0, 0, 1], 8365).into(),
            otlp_grpc: Some(([127, 0, 0, 1], 4317).into()),
            otlp_http: Some(([127, 0, 0, 1], 4318).into()),
            insecure_no_auth: false,
            self_scrape: true,
            self_scrape_interval: Duration::from_secs(5),
            shards: 0,
            features: Vec::new(),
            wal_sync: WalSync::Group,
            limits: Limits::default(),
            query: Query::default(),
            tiers: Tiers::default(),
            retention: Retention {
                rules: Rules::default(),
                logs: days(30),
                traces: days(7),
                size: ByteSize(0),
            },
            web: Web { enable_admin_api: false },
            seal: Seal { samples: 4_000_000, memory: ByteSize(40 << 20), age: Duration::from_secs(15 * 60) },
            otlp: Otlp {
                translation_strategy: TranslationStrategy::UnderscoreEscapingWithSuffixes,
                promote_resource_attributes: Vec::new(),
            },
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: ByteSize(16 << 20),
            bodies_bytes_max: ByteSize(256 << 20),
            decoded_bytes_max: ByteSize(32 << 20),
            series_max: 2_000_000,
            series_idle: Duration::from_secs(60 * 60),
            new_series_burst: 1_000_000,
            new_series_per_second: 50_000,
            labels_max: 64,
            label_name_bytes_max: ByteSize(1 << 10),
            label_value_bytes_max: ByteSize(2 << 10),
            histogram_buckets_max: 1_000,
            line_bytes_max: ByteSize(256 << 10),
            stream_labels_max: 15,
            metadata_names_max: 128,
            metadata_bytes_max: ByteSize(64 << 10),
            span_bytes_max: ByteSize(1 << 20),
            ahead_max: Duration::from_secs(10 * 60),
            delta_totals_max: 200_000,
            queued_batches_max: 256,
            disk_reserve: ByteSize(256 << 20),
            connections_max: 512,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Query {
    fn default() -> Query {
        Query {
            timeout: Duration::from_secs(2 * 60),
            samples_max: 50_000_000,
            series_max: 500_000,
            bytes_max: ByteSize(1 << 30),
            total_bytes_max: ByteSize(0),
            cache_bytes: None,
            log_bytes_max: ByteSize(10 << 30),
            log_entries_max: 5_000,
            response_bytes_max: ByteSize(64 << 20),
            responses_bytes_max: ByteSize(256 << 20),
            concurrency_max: 20,
            lookback: Duration::from_secs(5 * 60),
            log_file: None,
        }
    }
}
