//! Reads what stands in a payload.

use super::{BadPayload, LoggedRows, tag};
use crate::codec::histograms;
use crate::codec::varint::{read_i64, read_u64};
use crate::model::{Exemplar, Histogram, Labels, MetricMetadata, Timestamp};
use crate::storage::metrics::deltas::{DeltaState, Total};
use crate::storage::metrics::segment_layout::METRIC_TYPES;
use crate::storage::metrics::{ExemplarRow, HistogramRow, StartRow};

/// Reads a whole payload.
pub(in crate::storage) fn read_payload(payload: &[u8]) -> Result<LoggedRows<'_>, BadPayload> {
    let mut rows = LoggedRows::default();
    let mut from = Reader(payload);
    while !from.0.is_empty() {
        let tag = from.byte()?;
        let count = from.count()?;
        match tag {
            tag::SERIES_IN_FULL => from.series_in_full(count, &mut rows.series)?,
            tag::SERIES => from.series(count, &mut rows.series)?,
            tag::SAMPLES => from.samples(count, &mut rows.samples)?,
            tag::HISTOGRAMS => from.rows(count, &mut rows.histograms, Reader::histogram_row)?,
            tag::STARTS => from.rows(count, &mut rows.starts, Reader::start)?,
            tag::EXEMPLARS => from.rows(count, &mut rows.exemplars, Reader::exemplar)?,
            tag::METADATA => from.rows(count, &mut rows.metadata, Reader::metadata)?,
            tag::DELTA_TOTALS => from.rows(count, &mut rows.delta_totals, Reader::delta_total)?,
            _ => return Err(from.bad("unknown block")),
        }
    }
    Ok(rows)
}

/// What is left of a payload.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bad(&self, what: &'static str) -> BadPayload {
        BadPayload { what, left: self.0.len() }
    }

    pub(super) fn byte(&mut self) -> Result<u8, BadPayload> {
        Ok(self.bytes(1)?[0])
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadPayload> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| self.bad("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, BadPayload> {
        read_u64(&mut self.0).map_err(|_| self.bad("bad integer"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, BadPayload> {
        read_i64(&mut self.0).map_err(|_| self.bad("bad integer"))
    }

    pub(super) fn id(&mut self) -> Result<u32, BadPayload> {
        u32::try_from(self.unsigned()?).map_err(|_| self.bad("id out of range"))
    }

    /// An id, written as the difference from another one.
    pub(super) fn id_from(&mut self, other: u32) -> Result<u32, BadPayload> {
        let id = i64::from(other).checked_add(self.signed()?);
        id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| self.bad("id out of range"))
    }

    /// A number of things that take at least a byte each, so that nothing is allocated that was not sent.
    pub(super) fn count(&mut self) -> Result<usize, BadPayload> {
        let count = self.unsigned()? as usize;
        if count > self.0.len() { Err(self.bad("more rows than bytes")) } else { Ok(count) }
    }

    fn float(&mut self) -> Result<f64, BadPayload> {
        Ok(f64::from_le_bytes(self.bytes(8)?.try_into().expect("eight bytes")))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, BadPayload> {
        self.text_like(None)
    }

    /// A text, and the very one that it is like, if it is.
    pub(super) fn text_like(&mut self, like: Option<&'a str>) -> Result<&'a str, BadPayload> {
        let len = self.unsigned()? as usize;
        let bytes = self.bytes(len)?;
        match like {
            Some(like) if like.as_bytes() == bytes => Ok(like),
            _ => std::str::from_utf8(bytes).map_err(|_| self.bad("text is not UTF-8")),
        }
    }

    fn rows<T>(
        &mut self,
        count: usize,
        to: &mut Vec<T>,
        row: impl Fn(&mut Reader<'a>) -> Result<T, BadPayload>,
    ) -> Result<(), BadPayload> {
        for _ in 0..count {
            to.push(row(self)?);
        }
        Ok(())
    }

    fn labels(&mut self) -> Result<Labels, BadPayload> {
        let count = self.count()?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Labels::from_pairs(pairs).map_err(|_| self.bad("duplicate label"))
    }

    fn histogram(&mut self) -> Result<Histogram, BadPayload> {
        let (histogram, len) = histograms::decode(self.0).map_err(|_| self.bad("bad histogram"))?;
        self.bytes(len)?;
        Ok(histogram)
    }

    fn histogram_row(&mut self) -> Result<HistogramRow, BadPayload> {
        Ok(HistogramRow { id: self.id()?, timestamp: self.signed()?, histogram: Box::new(self.histogram()?) })
    }

    fn start(&mut self) -> Result<StartRow, BadPayload> {
        Ok(StartRow { id: self.id()?, timestamp: self.signed()?, start: self.signed()? })
    }

    fn exemplar(&mut self) -> Result<ExemplarRow, BadPayload> {
        let (id, labels) = (self.id()?, self.labels()?);
        let timestamp: Timestamp = self.signed()?;
        Ok(ExemplarRow { id, exemplar: Exemplar { labels, value: self.float()?, timestamp } })
    }

    fn metadata(&mut self) -> Result<(String, MetricMetadata), BadPayload> {
        let family = self.text()?.to_owned();
        let metric_type =
            *METRIC_TYPES.get(self.byte()? as usize).ok_or_else(|| self.bad("unknown metric type"))?;
        let metadata =
            MetricMetadata { metric_type, help: self.text()?.to_owned(), unit: self.text()?.to_owned() };
        Ok((family, metadata))
    }

    fn delta_total(&mut self) -> Result<(u32, DeltaState), BadPayload> {
        let (id, start, timestamp) = (self.id()?, self.signed()?, self.signed()?);
        let total = match self.byte()? {
            0 => Total::Float(self.float()?),
            1 => Total::Histogram(Box::new(self.histogram()?)),
            _ => return Err(self.bad("unknown kind of total")),
        };
        Ok((id, DeltaState { start, timestamp, total }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_payload(&payload);
        }
    }
}
