//! What became of an import.

use std::collections::HashSet;
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::cli::query::clock_time;
use crate::cli::terminal::printable;
use crate::exchange::Batch;
use crate::model::Timestamp;

/// Four million are what a large server has; beyond them it is told that there are more.
const SERIES_MAX: usize = 1 << 22;

/// A person reads the first few.
const REASONS_MAX: usize = 10;

pub struct Tally {
    pub sent: u64,
    pub refused: u64,
    /// With where it was read.
    reasons: Vec<String>,
    /// By a hash: two of them are taken for one by chance with 2^-64 a pair.
    series: HashSet<u64, RandomState>,
    times: Option<(Timestamp, Timestamp)>,
    began: Instant,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            sent: 0,
            refused: 0,
            reasons: Vec::new(),
            series: HashSet::default(),
            times: None,
            began: Instant::now(),
        }
    }
}

impl Tally {
    pub fn add(&mut self, batch: &Batch, refused: u64, reasons: String) {
        self.sent += batch.sample_count;
        self.refused += refused;
        if refused > 0 && self.reasons.len() < REASONS_MAX {
            self.reasons.push(format!("{}: {reasons}", batch.origin));
        }
        if self.series.len() < SERIES_MAX {
            self.series.extend(batch.series().map(|labels| labels.fingerprint() as u64));
        }
        if let Some((first, last)) = batch.times {
            let (earliest, latest) = self.times.unwrap_or((first, last));
            self.times = Some((earliest.min(first), latest.max(last)));
        }
    }

    pub fn show(&self) -> String {
        let Some((first, last)) = self.times else { return "no samples\n".to_owned() };
        let at = |timestamp: Timestamp| clock_time(timestamp as f64 / 1_000.0);
        let seconds = self.began.elapsed().as_secs_f64();
        let stored = self.sent.saturating_sub(self.refused);
        let (first, last) = (at(first), at(last));
        let series = match self.series.len() {
            SERIES_MAX.. => format!("more than {SERIES_MAX}"),
            series => series.to_string(),
        };
        let refused = match self.refused {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        format!("{stored} samples of {series} series from {first} to {last} in {seconds:.1} s{refused}\n")
    }

    pub fn tell_refusals(&self) {
        for reason in &self.reasons {
            eprintln!("icecore: {}", printable(reason));
        }
    }
}
