//! What turns on its own while the server serves: the care of the store, and the scrape of our own metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use super::shutdown::Shutdown;
use crate::api::{Api, SelfScrape};
use crate::ingest::OwnSample;
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder};

const JOB: &str = "icecore";

/// How often the store is looked at while no generation is full.
const TICK: Duration = Duration::from_millis(250);
const TIDY: Duration = Duration::from_secs(30);

/// Runs until the end begins. Sealing, tidying and scraping do not wait for each other.
pub async fn run(api: Arc<Api>, scrape_every: Option<Duration>, address: SocketAddr, shutdown: Shutdown) {
    let tick = seal_when_due(&shutdown, &api);
    let tidy = every(TIDY, "tidying", &shutdown, &api, |api| api.store.tidy(api.clock.now_ms()));
    let scrape = async {
        if let Some(interval) = scrape_every {
            every(interval, "the scrape of our own metrics", &shutdown, &api, move |api| {
                scrape_self(api, address)
            })
            .await;
        }
    };
    tokio::join!(tick, tidy, scrape);
}

/// Seals as soon as a generation is full: at 100 MB of log lines a second it takes in a mark's worth in half a second.
async fn seal_when_due(shutdown: &Shutdown, api: &Arc<Api>) {
    loop {
        let api = api.clone();
        let work = tokio::task::spawn_blocking(move || {
            api.store.wait_until_full(TICK);
            api.store.tick(api.clock.now_ms());
        });
        tokio::select! {
            sealed = work => if sealed.is_err() {
                tracing::error!("sealing panicked");
            },
            // A seal that is under way goes on; closing the store waits for it.
            () = shutdown.asked() => return,
        }
    }
}

/// Opens the query log anew at each SIGHUP, after which whoever moved the file away may compress it.
pub async fn reopen_query_log(api: Arc<Api>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        if let Some(log) = api.query_log() {
            log.reopen();
        }
    }
}

/// Does the work on a thread that may block, again and again, never twice at a time.
async fn every(
    period: Duration,
    what: &str,
    shutdown: &Shutdown,
    api: &Arc<Api>,
    work: impl Fn(&Api) + Clone + Send + 'static,
) {
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.asked() => return,
        }
        let (api, work) = (api.clone(), work.clone());
        if tokio::task::spawn_blocking(move || work(&api)).await.is_err() {
            tracing::error!("{what} panicked");
        }
    }
}

/// Hands our own metrics to our own store, as a scrape of `/metrics` would.
fn scrape_self(api: &Api, address: SocketAddr) {
    let started = Instant::now();
    let target =
        LabelsBuilder::from_labels(&Labels::from_sorted([("instance", &*address.to_string()), ("job", JOB)]));
    let mut samples = vec![OwnSample { labels: named(&target, "up"), value: 1.0 }];
    for family in api.registry.gather() {
        push_family(&mut samples, &target, &family);
    }
    let now = api.clock.now_ms();
    let result = api.ingest.own_metrics(&samples, now, Box::new(|_| {}));
    let error = match result {
        Ok(outcome) => outcome.reasons.join("; "),
        Err(error) => error.to_string(),
    };
    if !error.is_empty() {
        tracing::warn!(error, "our own metrics were not stored");
    }
    api.scraped_self(SelfScrape { at: now, took: started.elapsed(), error });
}

fn named(labels: &LabelsBuilder, name: &str) -> Labels {
    labels.clone().set(METRIC_NAME, name).build()
}

fn push_family(to: &mut Vec<OwnSample>, target: &LabelsBuilder, family: &MetricFamily) {
    let name = family.name();
    for metric in family.get_metric() {
        let labels = with_pairs(target, metric.get_label());
        let mut push = |labels: &LabelsBuilder, name: &str, value: f64| {
            to.push(OwnSample { labels: named(labels, name), value });
        };
        match family.get_field_type() {
            MetricType::COUNTER => push(&labels, name, metric.get_counter().get_value()),
            MetricType::GAUGE => push(&labels, name, metric.get_gauge().get_value()),
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let bucket_name = format!("{name}_bucket");
                for bucket in histogram.get_bucket() {
                    let mut labels = labels.clone();
                    labels.set("le", &bucket.upper_bound().to_string());
                    push(&labels, &bucket_name, bucket.cumulative_count() as f64);
                }
                push(labels.clone().set("le", "+Inf"), &bucket_name, histogram.get_sample_count() as f64);
                push(&labels, &format!("{name}_sum"), histogram.get_sample_sum());
                push(&labels, &format!("{name}_count"), histogram.get_sample_count() as f64);
            }
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
}

fn with_pairs(target: &LabelsBuilder, pairs: &[LabelPair]) -> LabelsBuilder {
    let mut labels = target.clone();
    for pair in pairs {
        labels.set(pair.name(), pair.value());
    }
    labels
}
