//! What a selector found: its series, and how their samples are read.

use std::rc::Rc;

use crate::model::rollup::Columns;
use crate::model::{Matcher, TimeRange, Timestamp};
use crate::query::QueryError;
use crate::query::buckets::Buckets;
use crate::query::promql::ast::PositionRange;
use crate::storage::metrics::{ReadPlan, SampleBuffer, Series};

use super::annotations::Note;
use super::context::Context;
use super::tiers::{self, Look, Need, Shortfall, Tiers};

/// Series, and from which tiers they are read.
pub struct Selected<'q> {
    context: &'q Context<'q>,
    series: Rc<[Series]>,
    range: TimeRange,
    position: PositionRange,
    need: Need,
    tiers: Option<Tiers>,
    buckets: Buckets,
}

/// A series in buckets, and where the windows over them lie.
#[derive(Clone, Copy)]
pub struct Rolled<'a> {
    pub buckets: &'a Buckets,
    pub tiers: &'a Tiers,
}

impl<'q> Selected<'q> {
    /// `position` is blamed for what the answer falls short in.
    pub fn new(
        context: &'q Context<'q>,
        matchers: &[Matcher],
        need: Need,
        look: &Look,
        position: PositionRange,
    ) -> Result<Selected<'q>, QueryError> {
        let mut range = look.covered;
        let mut tiers = tiers::plan(&context.stretches(range), need, look);
        if let Some(reach_ms) = tiers.as_ref().map(|tiers| tiers.reach_ms).filter(|reach_ms| *reach_ms > 0) {
            range.after = range.after.saturating_sub(reach_ms);
            tiers = tiers::plan(&context.stretches(range), need, look);
        }
        let series = context.select(matchers, range, tiers.as_ref().map(|tiers| &tiers.plan))?;
        context.expect_samples(&series)?;
        let shortfall = tiers.as_ref().and_then(|tiers| tiers.shortfall);
        if let Some(shortfall) = shortfall.filter(|_| !series.is_empty()) {
            context.fall_short(shortfall, position)?;
        }
        Ok(Selected { context, series, range, position, need, tiers, buckets: Buckets::default() })
    }

    /// As they were sent, whatever else there is: the samples of a range, of series that have any from a time on.
    pub fn as_sent(
        context: &'q Context<'q>,
        matchers: &[Matcher],
        range: TimeRange,
        since: Timestamp,
        position: PositionRange,
    ) -> Result<Selected<'q>, QueryError> {
        let series = context.select(matchers, TimeRange { after: since, ..range }, None)?;
        let (need, tiers, buckets) = (Need::NEWEST, None, Buckets::default());
        Ok(Selected { context, series, range, position, need, tiers, buckets })
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// How much farther back a selector has to look than it was told to.
    pub fn reach_ms(&self) -> i64 {
        self.tiers.as_ref().map_or(0, |tiers| tiers.reach_ms)
    }

    /// The samples of one series, stale markers included; the last sample of a bucket stands for all.
    pub fn read(&mut self, at: usize, samples: &mut SampleBuffer) -> Result<(), QueryError> {
        let Some(tiers) = &self.tiers else {
            return self.context.read(&self.series[at], self.range, samples);
        };
        self.context.read_buckets(&self.series[at], &tiers.plan, &mut self.buckets)?;
        self.buckets.put_last_samples(samples);
        Ok(())
    }

    /// The same for windows, but where buckets tell all that is needed: then the answer is yes, and they are what
    /// [`Selected::rolled`] shows.
    pub fn read_for_windows(&mut self, at: usize, samples: &mut SampleBuffer) -> Result<bool, QueryError> {
        let (Some(tiers), Need::States(function, columns)) = (&self.tiers, self.need) else {
            return self.read(at, samples).map(|()| false);
        };
        self.context.read_buckets(&self.series[at], &tiers.plan, &mut self.buckets)?;
        if self.buckets.has().contains(columns) {
            return Ok(true);
        }
        let coarsest = tiers.plan.readings.iter().map(|reading| reading.resolution).max();
        let resolution_ms = coarsest.expect("a plan reads something");
        self.context.fall_short(Shortfall::Approximate { function, resolution_ms }, self.position)?;
        let last = ReadPlan { wanted: Columns::LAST, ..tiers.plan.clone() };
        self.context.read_buckets(&self.series[at], &last, &mut self.buckets)?;
        self.buckets.put_last_samples(samples);
        Ok(false)
    }

    /// What was read of a series in buckets.
    pub fn rolled(&self) -> Option<Rolled<'_>> {
        self.tiers.as_ref().map(|tiers| Rolled { buckets: &self.buckets, tiers })
    }
}

impl Context<'_> {
    /// Tells in what an answer falls short, or refuses to give it.
    fn fall_short(&self, shortfall: Shortfall, position: PositionRange) -> Result<(), QueryError> {
        if self.query.strict {
            return Err(QueryError::Execution(format!(
                "not exact, as strict=1 asks: {}",
                shortfall.message()
            )));
        }
        self.note(Note::FallsShort(shortfall), position);
        Ok(())
    }
}
