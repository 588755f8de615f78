//! Matchers to series.
//!
//! A label that a series lacks has the value `""`. So a matcher that refuses `""` keeps the series of the values it
//! accepts, and one that accepts `""` takes away the series of the values it refuses.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Index;
use super::dictionary::{Dictionary, Holders};
use crate::model::{Lookout, Matcher};
use crate::storage::segment::{LastChunk, SegmentError};

/// Looking at one series costs about as much as looking at this many values of a dictionary.
const VALUES_PER_SERIES: u64 = 4;

impl Index {
    /// The series that all matchers let through.
    pub fn select(&self, matchers: &[Matcher], lookout: &Lookout<'_>) -> Result<RoaringBitmap, SegmentError> {
        let mut found: Option<RoaringBitmap> = None;
        // What is one look-up comes first: it leaves the others less to do.
        let (cheap, dear): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| m.literal_values().is_some());
        for matcher in cheap.into_iter().chain(dear) {
            let narrowed = self.narrow(found, matcher, lookout)?;
            if narrowed.is_empty() || lookout.has_given_up() {
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
        lookout: &Lookout<'_>,
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
            return self.filter(found, name, matcher, lookout);
        }
        if accepts_absent {
            let refused = self.holders(name, &matcher.inverse(), lookout)?;
            return Ok(found.unwrap_or_else(|| self.all()) - &*refused);
        }
        let accepted = self.holders(name, matcher, lookout)?;
        Ok(match found {
            Some(found) => found & &*accepted,
            None => Arc::unwrap_or_clone(accepted),
        })
    }

    /// The series that have the label with a value that the matcher lets through.
    fn holders(
        &self,
        name: u32,
        matcher: &Matcher,
        lookout: &Lookout<'_>,
    ) -> Result<Arc<RoaringBitmap>, SegmentError> {
        // One value is found as quickly, and others are found by looking at all.
        let is_list = matcher.literal_values().is_some_and(|values| values.len() > 1);
        if let Some(known) = is_list.then(|| self.recent.get(name, matcher)).flatten() {
            return Ok(known);
        }
        let found = Arc::new(self.find_holders(name, matcher, lookout)?);
        if is_list && !lookout.has_given_up() {
            self.recent.keep(name, matcher, &found);
        }
        Ok(found)
    }

    fn find_holders(
        &self,
        name: u32,
        matcher: &Matcher,
        lookout: &Lookout<'_>,
    ) -> Result<RoaringBitmap, SegmentError> {
        let dictionary = self.dictionary(name)?;
        let mut holders = Vec::new();
        match matcher.literal_values() {
            Some(values) => {
                for value in values {
                    holders.extend(dictionary.find(value)?.map(|(_, who)| who));
                }
            }
            None => scan(&dictionary, matcher, lookout, &mut holders)?,
        }
        self.union(&holders, lookout)
    }

    fn union(&self, holders: &[Holders], lookout: &Lookout<'_>) -> Result<RoaringBitmap, SegmentError> {
        let (mut singles, mut union) = (Vec::new(), RoaringBitmap::new());
        for &who in holders {
            match who {
                Holders::One(ordinal) => singles.push(ordinal),
                Holders::List { count, .. } if !lookout.gives_up_before(count as usize) => {
                    union |= self.ordinals(who)?;
                }
                Holders::List { .. } => break,
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
        lookout: &Lookout<'_>,
    ) -> Result<RoaringBitmap, SegmentError> {
        let accepts_absent = matcher.matches_empty();
        let mut verdicts: HashMap<u32, bool> = HashMap::new();
        let (mut kept, mut chunk) = (RoaringBitmap::new(), LastChunk::default());
        for ordinal in found {
            if lookout.gives_up_before(0) {
                break;
            }
            let (chunk, row) = self.row(&mut chunk, ordinal)?;
            let is_kept = match chunk.value_of(row, name) {
                None => accepts_absent,
                Some(value) => match verdicts.get(&value) {
                    Some(&verdict) => verdict,
                    None => {
                        let verdict = self.with_value(name, value, |text, _| {
                            !lookout.gives_up_before(text.len()) && matcher.matches_within(text, lookout)
                        })?;
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
    lookout: &Lookout<'_>,
    holders: &mut Vec<Holders>,
) -> Result<(), SegmentError> {
    let prefix = matcher.prefix().unwrap_or("");
    dictionary.scan_from(prefix, |_, value, who| {
        if lookout.gives_up_before(value.len()) || !value.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        if matcher.matches_within(value, lookout) {
            holders.push(who);
        }
        ControlFlow::Continue(())
    })
}
