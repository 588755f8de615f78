//! Volumes: bytes of lines by stream, told from the headers of blocks, as if a block's bytes were spread evenly over
//! its time.

use std::collections::BTreeMap;
use std::time::Instant;

use super::listing::{internal, select};
use super::{AggregateBy, LogAnswer, LogStats, LogValue, VolumeQuery};
use crate::model::nanos::NANOS_PER_MILLI;
use crate::model::{Labels, Matcher, NanoRange, Nanos};
use crate::query::metrics::QueryKind;
use crate::query::{Budget, MatrixSeries, Querier, QueryError, QueryValue, SampleValue, VectorSample};
use crate::storage::logs::{LogSelection, LogsSnapshot};

/// Bytes by end of step, of one volume.
type Steps = BTreeMap<Nanos, u64>;

impl Querier {
    /// A vector, or a matrix, of bytes of lines; the largest first.
    pub fn log_volume(&self, request: &VolumeQuery, budget: &Budget) -> Result<LogAnswer, QueryError> {
        self.metrics.observe(QueryKind::LogVolume, budget, || {
            let started = Instant::now();
            let matchers = self.log_matchers(&request.expr)?;
            let snapshot = self.logs_until_over(budget);
            let range = NanoRange::closed(request.start, request.end);
            let selection = select(&snapshot, &matchers, range, budget)?;
            let names_of = Names::new(request, &matchers);
            let volumes = volumes(&snapshot, &selection, request, &names_of, budget)?;
            let mut sorted: Vec<(Labels, Steps)> = volumes.into_iter().collect();
            let total = |steps: &Steps| steps.values().sum::<u64>();
            sorted.sort_by(|a, b| total(&b.1).cmp(&total(&a.1)).then_with(|| a.0.cmp(&b.0)));
            sorted.truncate(request.limit);
            let stats = LogStats { seconds: started.elapsed().as_secs_f64(), ..LogStats::default() };
            let value = LogValue::Metric(value(sorted, request));
            Ok(LogAnswer { value, warnings: snapshot.warnings(), stats })
        })
    }
}

/// What the volumes are called that a stream belongs to.
struct Names {
    labels: Vec<String>,
    by: AggregateBy,
}

impl Names {
    fn new(request: &VolumeQuery, matchers: &[Matcher]) -> Names {
        let mut labels = request.target_labels.clone();
        if labels.is_empty() && request.aggregate_by == AggregateBy::Series {
            labels.extend(matchers.iter().map(|matcher| matcher.name.clone()));
        }
        Names { labels, by: request.aggregate_by }
    }

    fn of(&self, stream: &Labels) -> Vec<Labels> {
        let is_asked = |name: &str| self.labels.iter().any(|asked| asked == name);
        match self.by {
            AggregateBy::Series => {
                let asked = Labels::from_sorted(stream.iter().filter(|(name, _)| is_asked(name)));
                if asked.is_empty() { Vec::new() } else { vec![asked] }
            }
            // A label without a value does not exist; so the name stands for it.
            AggregateBy::Labels => stream
                .iter()
                .filter(|(name, _)| self.labels.is_empty() || is_asked(name))
                .map(|(name, _)| Labels::from_sorted([(name, name)]))
                .collect(),
        }
    }
}

fn volumes(
    snapshot: &LogsSnapshot,
    selection: &LogSelection,
    request: &VolumeQuery,
    names_of: &Names,
    budget: &Budget,
) -> Result<BTreeMap<Labels, Steps>, QueryError> {
    let names: Vec<Vec<Labels>> = selection.streams.iter().map(|stream| names_of.of(stream)).collect();
    let windows = windows(request);
    let mut volumes: BTreeMap<Labels, Steps> = BTreeMap::new();
    for part in &selection.parts {
        budget.check()?;
        let shares = snapshot.shares(selection, part).map_err(internal)?;
        // Windows are in order and touch, so those of the part are neighbours.
        let first = windows.partition_point(|window| window.until <= part.range.after);
        for window in windows[first..].iter().take_while(|window| window.after < part.range.until) {
            for share in &shares {
                let bytes = part.share_in(*window, share.bytes);
                for labels in names[share.stream as usize].iter().filter(|_| bytes > 0) {
                    if !volumes.contains_key(labels) {
                        budget.take_series(1)?;
                        volumes.insert(labels.clone(), Steps::new());
                    }
                    let steps = volumes.get_mut(labels).expect("it was put there");
                    *steps.entry(window.until).or_default() += bytes;
                }
            }
        }
    }
    Ok(volumes)
}

/// The whole range, or one for each step, which ends with it.
fn windows(request: &VolumeQuery) -> Vec<NanoRange> {
    if request.step_ns <= 0 {
        return vec![NanoRange::closed(request.start, request.end)];
    }
    let mut windows = Vec::new();
    let mut until = request.start;
    while until <= request.end {
        windows.push(NanoRange { after: until.saturating_sub(request.step_ns), until });
        let Some(next) = until.checked_add(request.step_ns) else { break };
        until = next;
    }
    windows
}

fn value(volumes: Vec<(Labels, Steps)>, request: &VolumeQuery) -> QueryValue {
    let millis = |time: Nanos| time.div_euclid(NANOS_PER_MILLI);
    if request.step_ns > 0 {
        let series = volumes.into_iter().map(|(labels, steps)| {
            let floats = steps.into_iter().map(|(time, bytes)| (millis(time), bytes as f64)).collect();
            MatrixSeries { labels, floats, ..MatrixSeries::default() }
        });
        return QueryValue::Matrix(series.collect());
    }
    let samples = volumes.into_iter().map(|(labels, steps)| VectorSample {
        labels,
        timestamp: millis(request.end),
        value: SampleValue::Float(steps.values().sum::<u64>() as f64),
    });
    QueryValue::Vector(samples.collect())
}
