//! Which tier a selector reads, stretch by stretch of time: the finest that covers it, or a coarser one where the
//! answer is the same.
//!
//! A state of a bucket tells many functions all they want of the samples in it, as long as no window cuts through a
//! bucket. So a coarser tier may stand for a finer one if the function is exact on states and the edges of all windows
//! are multiples of its resolution. Where only a tier is left that is too coarse, the answer says so.

use crate::model::rollup::Columns;
use crate::model::{TimeRange, Timestamp};
use crate::query::lexical::duration::format_duration;
use crate::query::promql::ast::Edges;
use crate::query::promql::functions_table::Function;
use crate::storage::metrics::{ReadPlan, Reading, Stretch};

use super::row::Grid;
use super::select::DataTime;

/// What a function must know of the samples it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The samples themselves; one of each bucket is no more than an approximation. Who wants them, for people.
    Samples(&'static str),
    /// These parts of states: of merged states the function is what it is of the samples.
    States(&'static str, Columns),
}

impl Need {
    /// What an instant selector needs.
    pub const NEWEST: Need = Need::States("a selector", Columns::LAST);

    /// What a function of a range vector needs. With `reads_starts` it looks at start timestamps, which states lack.
    pub fn of(function: Function, edges: Edges, reads_starts: bool) -> Need {
        let name = function.name();
        match state_columns(function) {
            Some(columns) if edges == Edges::Plain && !reads_starts => Need::States(name, columns),
            _ => Need::Samples(name),
        }
    }

    pub fn columns(self) -> Columns {
        match self {
            Need::Samples(_) => Columns::LAST,
            Need::States(_, columns) => columns,
        }
    }
}

/// The parts of states that tell a function all it wants to know of samples, if there are such.
fn state_columns(function: Function) -> Option<Columns> {
    const ENDS: Columns = Columns::FIRST.union(Columns::LAST);
    Some(match function {
        Function::CountOverTime | Function::PresentOverTime | Function::AbsentOverTime => Columns::COUNT,
        Function::SumOverTime | Function::AvgOverTime => Columns::SUM.union(Columns::COUNT),
        Function::MinOverTime => Columns::MIN,
        Function::MaxOverTime => Columns::MAX,
        Function::FirstOverTime | Function::TsOfFirstOverTime => Columns::FIRST,
        Function::LastOverTime | Function::TsOfLastOverTime => Columns::LAST,
        Function::Delta => ENDS,
        Function::Rate | Function::Increase => ENDS.union(Columns::LOST),
        Function::Resets => ENDS.union(Columns::RESETS),
        Function::Changes => ENDS.union(Columns::CHANGES),
        _ => return None,
    })
}

/// The data that a selector looks at over the steps of a grid.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub grid: Grid,
    pub time: DataTime,
    /// The length of its windows; 0 for an instant selector.
    pub range_ms: i64,
    /// All that any step looks at.
    pub covered: TimeRange,
}

impl Look {
    /// Whether no window cuts through a bucket of this resolution.
    fn is_aligned(&self, resolution_ms: i64) -> bool {
        let is_multiple = |ms: i64| ms % resolution_ms == 0;
        let is_one_time = self.grid.len <= 1 || self.time.pinned.is_some();
        is_multiple(self.time.at(self.grid.start))
            && is_multiple(self.range_ms)
            && (is_one_time || is_multiple(self.grid.step_ms))
    }

    /// Windows this short see at most one bucket whole.
    fn is_narrow(&self, resolution_ms: i64) -> bool {
        self.range_ms > 0 && self.range_ms < 2 * resolution_ms
    }
}

/// In what an answer falls short because only a coarse tier is left; the coarsest resolution met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    Approximate {
        function: &'static str,
        resolution_ms: i64,
    },
    Widened {
        range_ms: i64,
        resolution_ms: i64,
    },
    /// Windows begin and end with buckets.
    Unaligned {
        resolution_ms: i64,
    },
}

impl Shortfall {
    pub fn is_warning(&self) -> bool {
        !matches!(self, Shortfall::Unaligned { .. })
    }

    pub fn message(&self) -> String {
        let shown = format_duration;
        match *self {
            Shortfall::Approximate { function, resolution_ms } => format!(
                "{function} is approximated where samples are kept as {0} rollups only: the last sample of each {0} \
                 stands for all",
                shown(resolution_ms)
            ),
            Shortfall::Widened { range_ms, resolution_ms } => format!(
                "windows of {} are too narrow where samples are kept as {} rollups only, and are widened to {}",
                shown(range_ms),
                shown(resolution_ms),
                shown(2 * resolution_ms)
            ),
            Shortfall::Unaligned { resolution_ms } => format!(
                "where samples are kept as {0} rollups only, times are rounded down to multiples of {0}",
                shown(resolution_ms)
            ),
        }
    }
}

/// How a selector reads, where that is not all as sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiers {
    pub plan: ReadPlan,
    pub shortfall: Option<Shortfall>,
    /// How much farther back the selector looks than it was told to.
    pub reach_ms: i64,
}

/// How to read what a selector looks at; `None`: everything as sent.
pub fn plan(stretches: &[Stretch], need: Need, look: &Look) -> Option<Tiers> {
    if stretches.iter().all(|stretch| stretch.resolutions == [0]) {
        return None;
    }
    let readings: Vec<Reading> =
        stretches.iter().filter_map(|stretch| reading(stretch, need, look)).collect();
    if readings.iter().all(|reading| reading.resolution == 0) {
        return None;
    }
    let finest = stretches.iter().filter_map(|stretch| stretch.resolutions.first()).copied();
    let coarsest_left = finest.max().unwrap_or(0);
    let shortfall = if coarsest_left > 0 { shortfall(coarsest_left, need, look) } else { None };
    let reach_ms = match shortfall {
        Some(Shortfall::Widened { range_ms, resolution_ms }) => 3 * resolution_ms - range_ms,
        Some(_) => coarsest_left,
        None => 0,
    };
    Some(Tiers { plan: ReadPlan { readings, wanted: need.columns() }, shortfall, reach_ms })
}

fn reading(stretch: &Stretch, need: Need, look: &Look) -> Option<Reading> {
    let finest = *stretch.resolutions.first()?;
    let is_exact = |r: &&i64| **r > 0 && matches!(need, Need::States(..)) && look.is_aligned(**r);
    let resolution = stretch.resolutions.iter().rev().find(is_exact).copied().unwrap_or(finest);
    Some(Reading { range: stretch.range, resolution, fallback: (resolution != finest).then_some(finest) })
}

fn shortfall(resolution_ms: i64, need: Need, look: &Look) -> Option<Shortfall> {
    match need {
        Need::Samples(function) => Some(Shortfall::Approximate { function, resolution_ms }),
        Need::States(..) if look.is_aligned(resolution_ms) => None,
        Need::States(..) if look.is_narrow(resolution_ms) => {
            Some(Shortfall::Widened { range_ms: look.range_ms, resolution_ms })
        }
        Need::States(..) => Some(Shortfall::Unaligned { resolution_ms }),
    }
}

impl Tiers {
    /// The window that ends with `until`, as far as there are whole buckets in it.
    pub fn window(&self, until: Timestamp, range_ms: i64) -> TimeRange {
        let resolution = self.resolution_at(until);
        let until_whole = round_down(until, resolution);
        let is_aligned = until_whole == until && resolution > 0 && range_ms % resolution == 0;
        let after = match range_ms < 2 * resolution && !is_aligned {
            true => until_whole.saturating_sub(2 * resolution),
            false => until.saturating_sub(range_ms),
        };
        let after = round_down(after, self.resolution_at(after.saturating_add(1)));
        TimeRange { after: after.min(until_whole), until: until_whole }
    }

    /// The resolution that is read at a time; 0 is as sent.
    fn resolution_at(&self, time: Timestamp) -> i64 {
        let readings = &self.plan.readings;
        let later = readings.partition_point(|reading| reading.range.until < time);
        readings
            .get(later)
            .filter(|reading| reading.range.contains(time))
            .map_or(0, |reading| reading.resolution)
    }
}

fn round_down(time: Timestamp, resolution_ms: i64) -> Timestamp {
    if resolution_ms == 0 { time } else { time.div_euclid(resolution_ms).saturating_mul(resolution_ms) }
}

#[cfg(test)]
#[path = "tiers_tests.rs"]
mod tests;
