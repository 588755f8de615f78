//! Reading: heads and segments of one instant.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::chunk_reader;
use super::head::LogHead;
use super::rows::LogRowsBuffer;
use super::selection::{
    Found, LogPart, LogSelection, Place, SelectionSize, Source, StreamNumbers, StreamShare, matches,
    select_in_segment,
};
use crate::model::{Labels, LineFilter, Lookout, Matcher, NanoRange, StopSign};
use crate::storage::errors::ReadError;
use crate::storage::live::{LiveSegment, View};
use crate::storage::signal::Signal;

/// The logs at one instant. Holding it keeps the segments it reads alive; drop it when the query ends.
pub struct LogsSnapshot {
    /// Oldest first, as the segments.
    heads: Vec<Arc<LogHead>>,
    segments: Vec<Arc<LiveSegment>>,
    warnings: Mutex<BTreeSet<String>>,
    stop: StopSign,
}

/// What to read of a part.
#[derive(Clone, Copy, Debug)]
pub struct LogAsk<'a> {
    pub range: NanoRange,
    /// Only lines that pass all of these.
    pub line_filters: &'a [LineFilter],
    /// Only entries whose metadata has these names, as sent or sanitised, with these values.
    pub metadata_equals: &'a [(String, String)],
    pub wants_lines: bool,
    /// Wants `line_lens`.
    pub wants_line_bytes: bool,
    pub wants_metadata: bool,
    /// Of the metadata only what has these names, as sent or sanitised; `None`: all of it.
    pub metadata_names: Option<&'a [String]>,
}

impl LogAsk<'_> {
    /// All entries in a range, with everything.
    pub fn all(range: NanoRange) -> LogAsk<'static> {
        LogAsk {
            range,
            line_filters: &[],
            metadata_equals: &[],
            wants_lines: true,
            wants_line_bytes: true,
            wants_metadata: true,
            metadata_names: None,
        }
    }
}

impl LogsSnapshot {
    pub(in crate::storage) fn new(view: &View) -> LogsSnapshot {
        let heads = view.generations.iter().flat_map(|generation| generation.logs.clone()).collect();
        let segments = view.segments_of(Signal::Logs).map(|(_, segment)| segment.clone()).collect();
        LogsSnapshot::of(heads, segments)
    }

    /// Of heads and segments, both oldest first.
    pub(in crate::storage) fn of(heads: Vec<Arc<LogHead>>, segments: Vec<Arc<LiveSegment>>) -> LogsSnapshot {
        LogsSnapshot { heads, segments, warnings: Mutex::default(), stop: StopSign::never() }
    }

    /// The same, for a reader that may have had enough: what is found while the sign is up means nothing.
    pub fn until(self, stop: StopSign) -> LogsSnapshot {
        LogsSnapshot { stop, ..self }
    }

    /// For loops over what was read.
    pub fn lookout(&self) -> Lookout<'_> {
        Lookout::new(&self.stop)
    }

    /// The streams that all `matchers` let through and that may have entries in `range`. Damaged segments are skipped and
    /// reported by [`LogsSnapshot::warnings`].
    pub fn select(&self, matchers: &[Matcher], range: NanoRange) -> Result<LogSelection, ReadError> {
        let (mut found, lookout) = (Found::new(range), self.lookout());
        for (number, live) in self.segments_in(range) {
            self.or_warn(select_in_segment(live, Source::Segment(number), matchers, &lookout, &mut found));
        }
        for (number, head) in self.heads_in(range) {
            found.select_in_head(Source::Head(number), head, matchers, &lookout);
        }
        Ok(found.selection)
    }

    /// Replaces the content of `out` by the entries of a part that belong to selected streams and that `ask` wants, in
    /// order of time, those of one instant in order of arrival. Of a damaged block there are none, and
    /// [`LogsSnapshot::warnings`] tells.
    pub fn read(
        &self,
        selection: &LogSelection,
        part: &LogPart,
        ask: &LogAsk<'_>,
        out: &mut LogRowsBuffer,
    ) -> Result<(), ReadError> {
        out.clear();
        let Some(numbers) = selection.numbers.get(&part.source) else { return Ok(()) };
        match (part.source, part.place) {
            (Source::Head(head), Place::Chunk { group, chunk, row_count }) => {
                let chunk = self.heads[head as usize].group(group).chunk(chunk);
                chunk_reader::read(&chunk, row_count as usize, numbers, ask, &self.lookout(), out);
            }
            (Source::Segment(segment), Place::Block(number)) => {
                let live = &self.segments[segment as usize];
                self.or_warn(read_block(live, number, numbers, ask, &self.lookout(), out));
            }
            (Source::Head(_), Place::Block(_)) | (Source::Segment(_), Place::Chunk { .. }) => {
                unreachable!("heads have chunks, segments have blocks")
            }
        }
        Ok(())
    }

    /// What the selected streams have in a part, from its header alone.
    pub fn shares(&self, selection: &LogSelection, part: &LogPart) -> Result<Vec<StreamShare>, ReadError> {
        let Some(numbers) = selection.numbers.get(&part.source) else { return Ok(Vec::new()) };
        let shares = match (part.source, part.place) {
            (Source::Head(head), Place::Chunk { group, chunk, .. }) => {
                self.heads[head as usize].group(group).shares(chunk)
            }
            (Source::Segment(segment), Place::Block(number)) => {
                let live = &self.segments[segment as usize];
                let block = live.logs().and_then(|segment| Ok(segment.block(number)?));
                self.or_warn(block).map_or_else(Vec::new, |block| block.shares().to_vec())
            }
            (Source::Head(_), Place::Block(_)) | (Source::Segment(_), Place::Chunk { .. }) => {
                unreachable!("heads have chunks, segments have blocks")
            }
        };
        let selected = shares.iter().filter_map(|share| {
            let stream = numbers.get(share.stream)?;
            Some(StreamShare { stream, entries: share.rows, bytes: share.bytes })
        });
        Ok(selected.collect())
    }

    /// How much a selection holds in its range, as if what a part holds were spread evenly over its time.
    pub fn size(&self, selection: &LogSelection) -> SelectionSize {
        let streams = selection.streams.len() as u64;
        let mut size =
            SelectionSize { streams, chunks: selection.parts.len() as u64, ..SelectionSize::default() };
        for part in &selection.parts {
            size.entries += part.share_in(selection.range, part.rows);
            size.bytes += part.share_in(selection.range, part.bytes);
        }
        size
    }

    /// Sorted names of the labels on streams that match (all streams, if no matcher is given).
    pub fn label_names(&self, matchers: &[Matcher], range: NanoRange) -> Result<Vec<String>, ReadError> {
        let (mut names, lookout) = (BTreeSet::new(), self.lookout());
        for (_, live) in self.segments_in(range) {
            names.extend(self.or_warn(names_in_segment(live, matchers, &lookout)).unwrap_or_default());
        }
        self.for_each_matching_in_heads(matchers, range, &lookout, |labels| {
            for (name, _) in labels {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        });
        Ok(names.into_iter().collect())
    }

    /// Sorted values of one label on streams that match.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: NanoRange,
    ) -> Result<Vec<String>, ReadError> {
        let (mut values, lookout) = (BTreeSet::new(), self.lookout());
        for (_, live) in self.segments_in(range) {
            let found = self.or_warn(values_in_segment(live, name, matchers, &lookout)).unwrap_or_default();
            values.extend(found.into_iter().take_while(|value| !lookout.gives_up_before(value.len())));
        }
        self.for_each_matching_in_heads(matchers, range, &lookout, |labels| {
            let value = labels.get(name);
            if !value.is_empty() && !values.contains(value) {
                values.insert(value.to_owned());
            }
        });
        Ok(values.into_iter().collect())
    }

    /// Damage met while reading this snapshot: the answers lack what these segments held.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().iter().cloned().collect()
    }

    fn heads_in(&self, range: NanoRange) -> impl Iterator<Item = (u32, &LogHead)> {
        let all = self.heads.iter().enumerate();
        all.filter(move |(_, head)| head.nano_range().overlaps(&range)).map(|(i, head)| (i as u32, &**head))
    }

    fn segments_in(&self, range: NanoRange) -> impl Iterator<Item = (u32, &LiveSegment)> {
        let millis = range.to_millis();
        let all = self.segments.iter().enumerate();
        all.filter(move |(_, s)| s.time_range().overlaps(&millis)).map(|(i, s)| (i as u32, &**s))
    }

    /// Damage costs what it hit, not the query: it is noted and the rest goes on.
    fn or_warn<T>(&self, result: Result<T, ReadError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.warnings.lock().insert(error.to_string());
                None
            }
        }
    }

    fn for_each_matching_in_heads(
        &self,
        matchers: &[Matcher],
        range: NanoRange,
        lookout: &Lookout<'_>,
        mut each: impl FnMut(&Labels),
    ) {
        for (_, head) in self.heads_in(range) {
            head.for_each_stream(|_, stream| {
                if !lookout.gives_up_before(0) && matches(matchers, &stream.labels, lookout) {
                    each(&stream.labels);
                }
            });
        }
    }
}

fn read_block(
    live: &LiveSegment,
    number: u64,
    numbers: &StreamNumbers,
    ask: &LogAsk<'_>,
    lookout: &Lookout<'_>,
    out: &mut LogRowsBuffer,
) -> Result<(), ReadError> {
    let segment = live.logs()?;
    Ok(segment.read_block(&segment.block(number)?, numbers, ask, lookout, out)?)
}

fn names_in_segment(
    live: &LiveSegment,
    matchers: &[Matcher],
    lookout: &Lookout<'_>,
) -> Result<Vec<String>, ReadError> {
    let index = live.logs()?.index();
    Ok(match matchers {
        [] => index.label_names()?,
        _ => index.label_names_of(&index.select(matchers, lookout)?, lookout)?,
    })
}

fn values_in_segment(
    live: &LiveSegment,
    name: &str,
    matchers: &[Matcher],
    lookout: &Lookout<'_>,
) -> Result<Vec<String>, ReadError> {
    let index = live.logs()?.index();
    Ok(match matchers {
        [] => index.label_values(name, lookout)?,
        _ => index.label_values_of(name, &index.select(matchers, lookout)?, lookout)?,
    })
}
