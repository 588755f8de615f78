//! The configuration as each layer's own options.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::thread::available_parallelism;
use std::time::Duration;

use prometheus::{Gauge, Opts, Registry};

use super::listener::ConnectionLimits;
use super::machine;
use super::{ServeError, features};
use crate::api::{self, SelfTarget};
use crate::config::{self, ByteSize, Config, Rule, Setting, Tier, WalSync};
use crate::model::Timestamp;
use crate::query::budget::Limits;
use crate::query::promql::parser::{ParseOptions, parse_selector};
use crate::storage::PerSignal;
use crate::{ingest, query, storage};

/// What `wal.sync = interval` may lose to a power cut.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// What waits for the network is not counted as work: twice the cores keep them busy.
const WRITES_PER_CORE: usize = 2;

/// How many threads receive requests: one a core, and one at least beside another that a light query keeps from others.
pub fn async_threads() -> usize {
    cores().max(2)
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

pub fn storage(config: &Config) -> Result<storage::Options, ServeError> {
    let options = storage::Options {
        shards: if config.shards == 0 { cores() } else { config.shards as usize },
        series_max: config.limits.series_max as usize,
        new_series_burst: config.limits.new_series_burst,
        new_series_per_second: config.limits.new_series_per_second,
        sync: match config.wal_sync {
            WalSync::Group => storage::SyncMode::Group,
            WalSync::Interval => storage::SyncMode::Interval(SYNC_INTERVAL),
            WalSync::Off => storage::SyncMode::Off,
        },
        queue_batches: config.limits.queued_batches_max as usize,
        idle_series_ms: config.limits.series_idle.as_millis() as i64,
        disk_reserve: config.limits.disk_reserve.0,
        delta_totals_max: config.limits.delta_totals_max as usize,
        seal_samples: config.seal.samples,
        seal_bytes: config.seal.memory.0,
        seal_age_ms: config.seal.age.as_millis() as i64,
        tiers: config.tiers.as_slice().iter().map(tier).collect(),
        logs_retention_ms: config.retention.logs.as_millis() as i64,
        traces_retention_ms: config.retention.traces.as_millis() as i64,
        size_max: (config.retention.size.0 > 0).then_some(config.retention.size.0),
        rules: config.retention.rules.as_slice().iter().map(rule).collect::<Result<_, _>>()?,
        ..storage::Options::new(&config.data_dir)
    };
    Ok(options)
}

fn rule(rule: &Rule) -> Result<storage::RetentionRule, ServeError> {
    let matchers = parse_selector(&rule.selector, &ParseOptions::default())
        .map_err(|error| ServeError::Rule { selector: rule.selector.clone(), reason: error.to_string() })?;
    Ok(storage::RetentionRule { matchers, retention_ms: rule.age.as_millis() as i64 })
}

fn tier(tier: &Tier) -> storage::TierOptions {
    storage::TierOptions {
        resolution_ms: tier.resolution.as_millis() as i64,
        retention_ms: tier.age.as_millis() as i64,
        dir: tier.dir.clone(),
    }
}

/// How late data may come: samples as long as they are kept as sent.
fn behind_max_ms(config: &Config) -> PerSignal<i64> {
    PerSignal {
        metrics: config.tiers.raw_age().as_millis() as i64,
        logs: config.retention.logs.as_millis() as i64,
        traces: config.retention.traces.as_millis() as i64,
    }
}

pub fn ingest(config: &Config) -> ingest::Options {
    let limits = &config.limits;
    ingest::Options {
        decoded_bytes_max: limits.decoded_bytes_max.0 as usize,
        labels_max: limits.labels_max as usize,
        label_name_bytes_max: limits.label_name_bytes_max.0 as usize,
        label_value_bytes_max: limits.label_value_bytes_max.0 as usize,
        histogram_buckets_max: limits.histogram_buckets_max as usize,
        ahead_max_ms: limits.ahead_max.as_millis() as i64,
        line_bytes_max: limits.line_bytes_max.0 as usize,
        stream_labels_max: limits.stream_labels_max as usize,
        metadata_names_max: limits.metadata_names_max as usize,
        metadata_bytes_max: limits.metadata_bytes_max.0 as usize,
        span_bytes_max: limits.span_bytes_max.0 as usize,
        behind_max_ms: behind_max_ms(config),
        backfill_age_ms: config.longest_age().as_millis() as i64,
        otlp: ingest::OtlpOptions {
            translation: translation_strategy(config.otlp.translation_strategy),
            promote_resource_attributes: config.otlp.promote_resource_attributes.clone(),
        },
    }
}

fn translation_strategy(named: config::TranslationStrategy) -> ingest::TranslationStrategy {
    use config::TranslationStrategy as Named;
    use ingest::TranslationStrategy::*;
    match named {
        Named::UnderscoreEscapingWithSuffixes => UnderscoreEscapingWithSuffixes,
        Named::UnderscoreEscapingWithoutSuffixes => UnderscoreEscapingWithoutSuffixes,
        Named::NoUtf8EscapingWithSuffixes => NoUtf8EscapingWithSuffixes,
        Named::NoTranslation => NoTranslation,
    }
}

pub fn query(config: &Config) -> query::Options {
    let mut options = query::Options {
        lookback_ms: config.query.lookback.as_millis() as i64,
        log_entries_max: config.query.log_entries_max as usize,
        ..query::Options::default()
    };
    features::switch(&config.features, &mut options);
    options
}

/// Where nobody says what the machine has, queries have what the smallest sensible machine would give them.
const TOTAL_BYTES_LEAST: u64 = 256 << 20;

fn query_total_bytes(configured: u64) -> u64 {
    if configured > 0 {
        return configured;
    }
    machine::memory_bytes().map_or(TOTAL_BYTES_LEAST, |bytes| (bytes / 4).max(TOTAL_BYTES_LEAST))
}

/// Enough for the panels of some dashboards, and not so much that it is missed by what is written and read.
const RANGE_CACHE_BYTES: RangeInclusive<u64> = 8 << 20..=256 << 20;

fn range_cache_bytes(configured: Option<ByteSize>) -> u64 {
    let share = || machine::memory_bytes().unwrap_or(0) / 64;
    configured
        .map_or_else(|| share().clamp(*RANGE_CACHE_BYTES.start(), *RANGE_CACHE_BYTES.end()), |size| size.0)
}

pub fn api(config: &Config, address: SocketAddr, started_at: Timestamp) -> api::Options {
    let total_bytes_max = query_total_bytes(config.query.total_bytes_max.0);
    api::Options {
        body_bytes_max: config.limits.body_bytes_max.0 as usize,
        bodies_bytes_max: config.limits.bodies_bytes_max.0 as usize,
        decoded_bytes_max: config.limits.decoded_bytes_max.0 as usize,
        body_timeout: config.limits.body_timeout,
        query_timeout: config.query.timeout,
        query_limits: Limits {
            samples_max: config.query.samples_max,
            series_max: config.query.series_max,
            // Alone, a query that wants more than all may hold would be told to try again for ever.
            bytes_max: config.query.bytes_max.0.min(total_bytes_max),
            log_bytes_max: config.query.log_bytes_max.0,
        },
        query_total_bytes_max: total_bytes_max,
        range_cache_bytes_max: range_cache_bytes(config.query.cache_bytes),
        response_bytes_max: config.query.response_bytes_max.0 as usize,
        responses_bytes_max: config.query.responses_bytes_max.0 as usize,
        writes_max: cores() * WRITES_PER_CORE,
        queries_max: config.query.concurrency_max as usize,
        async_threads: async_threads(),
        settings: config.entries(),
        data_dir: config.data_dir.clone(),
        retention: config.longest_age().show(),
        started_at,
        admin_api: config.web.enable_admin_api,
        self_target: config
            .self_scrape
            .then(|| SelfTarget { address: address.to_string(), interval: config.self_scrape_interval }),
    }
}

pub fn connections(config: &Config) -> ConnectionLimits {
    ConnectionLimits {
        connections_max: config.limits.connections_max as usize,
        header_timeout: config.limits.header_timeout,
        stall_timeout: config.limits.stall_timeout,
    }
}

/// A registry with the metrics of the process itself.
pub fn registry() -> Registry {
    const ONCE: &str = "the name is valid and registered once";
    let registry = Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())).expect(ONCE);
    let build = Opts::new("icecore_build_info", "Always 1; the version is in the label.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let build = Gauge::with_opts(build).expect(ONCE);
    build.set(1.0);
    registry.register(Box::new(build)).expect(ONCE);
    registry
}
