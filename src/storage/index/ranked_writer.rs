//! Builds an index of series whose labels are known by their ranks.

use std::io::{self, Write};

use super::label_ranks::LabelRanks;
use super::writer::{Name, Rows};
use crate::storage::segment::SegmentWriter;

/// Collects series; four bytes a label. Invariant: the labels of what was added strictly increase, as whoever reads a segment
/// takes for granted.
#[derive(Default)]
pub struct RankedIndexWriter {
    rows: Rows,
    last: Option<Vec<u32>>,
}

/// A series does not come behind the one before it.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfOrder;

impl RankedIndexWriter {
    /// Adds a series, unless its labels are not behind those of the one before: where these come from a file, it may say anything.
    pub fn add(&mut self, labels: &[u32]) -> Result<(), OutOfOrder> {
        match &mut self.last {
            Some(last) if **last >= *labels => return Err(OutOfOrder),
            Some(last) => {
                last.clear();
                last.extend_from_slice(labels);
            }
            None => self.last = Some(labels.to_vec()),
        }
        self.rows.add(labels.iter().copied());
        Ok(())
    }

    pub fn series_count(&self) -> usize {
        self.rows.series_count()
    }

    /// Writes the sections. Labels that no series has are left out.
    pub fn finish<W: Write>(&self, ranks: &LabelRanks, to: &mut SegmentWriter<W>) -> io::Result<()> {
        let names = ranks.names().map(|(text, labels)| {
            let held = labels.filter(|&rank| self.rows.is_held(rank));
            Name { text, values: held.map(|rank| (ranks.value(rank), rank)).collect() }
        });
        let names: Vec<Name<'_>> = names.filter(|name| !name.values.is_empty()).collect();
        self.rows.finish(&names, ranks.label_count(), to)
    }
}
