//! Matchers to series.
//!
//! A label that a series lacks has the value `""`. So a matcher that refuses `""` keeps the series of the values it
//! accepts, and one that accepts `""` takes away the series of the values it refuses.

use std::collections::HashMap;
use std::ops::ControlFlow;

use roaring::RoaringBitmap;

use super::Index;
use super::dictionary::{Dictionary, Holders};
use crate::model::Matcher;
use crate::storage::segment::SegmentError;

/// Looking at one series costs about as much as looking at this many values of a dictionary.
const VALUES_PER_SERIES: u64 = 4;

/// How many values are looked at before asking whether to go on: some tens of microseconds.
const VALUES_PER_LOOK: usize = 256;

impl Index {
    /// The series that all matchers let through.
    pub fn select(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, SegmentError> {
        self.select_until(matchers, &|| false)
    }

    /// The same, given up as soon as `is_stopping`: what is then found means nothing.
    pub fn select_until(
        &self,
        matchers: &[Matcher],
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<RoaringBitmap, SegmentError> {
        let mut found: Option<RoaringBitmap> = None;
        // What is one look-up comes first: it leaves the others less to do.
        let (cheap, dear): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| m.literal_values().is_some());
        for matcher in cheap.into_iter().chain(dear) {
            let narrowed = self.narrow(found, matcher, is_stopping)?;
            if narrowed.is_empty() || is_stopping() {
                return Ok(narrowed);
            }
            found = Some(narrowed);
        }
        Ok(found.unwrap_or_else(|| self.all()))
    }

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.series_count());
        all
    }

    /// Of `found` (all series, if `None`) those that the matcher lets through.
    fn narrow(
        &self,
        found: Option<RoaringBitmap>,
        matcher: &Matcher,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<RoaringBitmap, SegmentError> {
        let accepts_absent = matcher.matches_empty();
        let Some(name) = self.name(&matcher.name)? else {
            return Ok(if accepts_absent {
                found.unwrap_or_else(|| self.all())
            } else {
                RoaringBitmap::new()
            });
        };
        let is_scan = matcher.literal_values().is_none() && matcher.inverse().literal_values().is_none();
        if let Some(found) = &found
            && is_scan
            && found.len() * VALUES_PER_SERIES < u64::from(self.value_count(name)?)
        {
            return self.filter(found, name, matcher, is_stopping);
        }
        if accepts_absent {
            let refused = self.holders(name, &matcher.inverse(), is_stopping)?;
            return Ok(found.unwrap_or_else(|| self.all()) - refused);
        }
        let accepted = self.holders(name, matcher, is_stopping)?;
        Ok(match found {
            Some(found) => found & accepted,
            None => accepted,
        })
    }

    /// The series that have the label with a value that the matcher lets through.
    fn holders(
        &self,
        name: u32,
        matcher: &Matcher,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<RoaringBitmap, SegmentError> {
        let dictionary = self.dictionary(name)?;
        let mut holders = Vec::new();
        match matcher.literal_values() {
            Some(values) => {
                for value in values {
                    holders.extend(dictionary.find(value)?.map(|(_, who)| who));
                }
            }
            None => scan(&dictionary, matcher, is_stopping, &mut holders)?,
        }
        self.union(&holders)
    }

    fn union(&self, holders: &[Holders]) -> Result<RoaringBitmap, SegmentError> {
        let (mut singles, mut union) = (Vec::new(), RoaringBitmap::new());
        for &who in holders {
            match who {
                Holders::One(ordinal) => singles.push(ordinal),
                Holders::List { .. } => union |= self.ordinals(who)?,
            }
        }
        singles.sort_unstable();
        union.extend(singles);
        Ok(union)
    }

    /// Looks at each series instead of each value.
    fn filter(
        &self,
        found: &RoaringBitmap,
        name: u32,
        matcher: &Matcher,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<RoaringBitmap, SegmentError> {
        let accepts_absent = matcher.matches_empty();
        let mut verdicts: HashMap<u32, bool> = HashMap::new();
        let mut kept = RoaringBitmap::new();
        for (i, ordinal) in found.iter().enumerate() {
            if i.is_multiple_of(VALUES_PER_LOOK) && is_stopping() {
                break;
            }
            let (chunk, row) = self.row(ordinal)?;
            let is_kept = match chunk.value_of(row, name) {
                None => accepts_absent,
                Some(value) => match verdicts.get(&value) {
                    Some(&verdict) => verdict,
                    None => {
                        let verdict = self.with_value(name, value, |text, _| matcher.matches(text))?;
                        verdicts.insert(value, verdict);
                        verdict
                    }
                },
            };
            if is_kept {
                kept.insert(ordinal);
            }
        }
        Ok(kept)
    }
}

fn scan(
    dictionary: &Dictionary<'_>,
    matcher: &Matcher,
    is_stopping: &dyn Fn() -> bool,
    holders: &mut Vec<Holders>,
) -> Result<(), SegmentError> {
    let prefix = matcher.prefix().unwrap_or("");
    dictionary.scan_from(prefix, |id, value, who| {
        let is_over = (id as usize).is_multiple_of(VALUES_PER_LOOK) && is_stopping();
        if is_over || !value.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        if matcher.matches(value) {
            holders.push(who);
        }
        ControlFlow::Continue(())
    })
}
