//! What a query took: time, samples, memory.

use std::time::Duration;

use super::Budget;
use super::promql::eval::Samples;
use crate::model::Timestamp;

/// What the API calls `stats`.
#[derive(Clone, Debug, Default)]
pub struct QueryStats {
    pub timings: Timings,
    pub samples: Samples,
    /// How many values of 8 bytes there would have been at most in the memory that rows, windows and results took at
    /// once. Prometheus counts the samples of all series that it holds; here one series is held at a time, so that an
    /// aggregation peaks at its groups, whatever it reads.
    pub samples_peak: u64,
    /// The samples of each step, where they were asked for.
    pub steps: Vec<(Timestamp, Samples)>,
    /// What was read, by resolution in ms, finest first: samples as sent (0), or states of buckets.
    pub tiers: Vec<(i64, u64)>,
}

impl QueryStats {
    /// What is known of a query that has no statistics of its own: its turn, its time since, and what it read.
    pub fn of_budget(budget: &Budget) -> QueryStats {
        let read = budget.samples_used();
        QueryStats {
            timings: Timings {
                queue: budget.queue_time().unwrap_or_default(),
                evaluation: budget.running_time(),
                ..Timings::default()
            },
            samples: Samples { queryable: read, read },
            ..QueryStats::default()
        }
    }
}

/// Where the time went: waiting for a turn, finding series and building operators, evaluating them, sorting their answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    pub queue: Duration,
    pub preparation: Duration,
    pub evaluation: Duration,
    pub sort: Duration,
}
