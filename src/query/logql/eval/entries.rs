//! Log queries: the first entries in the direction asked for that pass a pipeline.
//!
//! Parts are read in that direction too. As soon as one thread has found enough entries, nothing behind the last of
//! them can be in the answer: parts, and rows within a part, that lie behind are not read.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};

use foldhash::fast::RandomState;

use crate::model::{Labels, NanoRange, Nanos};
use crate::query::QueryError;
use crate::query::budget::HeldBytes;
use crate::query::logql::ast::LogExpr;
use crate::query::logql::stages::{Category, EntryState, Wanted};
use crate::query::logs::{Direction, LogLine, StreamAnswer, select};
use crate::storage::logs::{LogAsk, LogPart, LogRowsBuffer, LogSelection, identity};

use super::found::{Found, Place, places_by_labels, settle};
use super::plan::{MetadataUse, Plan};
use super::scan::Scan;

#[derive(Clone, Copy, Debug)]
pub struct EntriesAsk {
    pub range: NanoRange,
    pub direction: Direction,
    pub limit: usize,
    /// After an entry, those within less than this of it are left out; 0 leaves all.
    pub interval_ns: i64,
    /// When the query runs.
    pub now: Nanos,
}

pub fn entries(scan: Scan<'_>, expr: &LogExpr, ask: EntriesAsk) -> Result<Vec<StreamAnswer>, QueryError> {
    let found = if ask.interval_ns > 0 { thinned(scan, expr, ask)? } else { first_entries(scan, expr, ask)? };
    Ok(by_stream(found))
}

/// Which entries are far enough apart depends on those before them: each round begins behind what the entry taken
/// last leaves out, and takes one at least.
fn thinned(scan: Scan<'_>, expr: &LogExpr, ask: EntriesAsk) -> Result<Vec<Found>, QueryError> {
    let mut taken: Vec<Found> = Vec::new();
    let mut round = ask;
    loop {
        round.limit = ask.limit - taken.len();
        let found = first_entries(scan, expr, round)?;
        let is_last = found.len() < round.limit;
        for entry in found {
            let time = entry.line.timestamp;
            if taken.last().is_none_or(|last| last.line.timestamp.abs_diff(time) >= ask.interval_ns as u64) {
                taken.push(entry);
            }
        }
        let Some(last) = taken.last().filter(|_| !is_last && taken.len() < ask.limit) else {
            return Ok(taken);
        };
        let time = last.line.timestamp;
        match ask.direction {
            Direction::Forward => round.range.after = time.saturating_add(ask.interval_ns - 1),
            Direction::Backward => round.range.until = time.saturating_sub(ask.interval_ns),
        }
    }
}

/// The entries of the answer, in its order.
fn first_entries(scan: Scan<'_>, expr: &LogExpr, ask: EntriesAsk) -> Result<Vec<Found>, QueryError> {
    if ask.range.is_empty() || ask.limit == 0 {
        return Ok(Vec::new());
    }
    let selection = select(scan.snapshot, &expr.matchers, ask.range, scan.budget)?;
    let mut plan = Plan::new(&expr.stages, Wanted::All, &selection.streams, ask.now);
    plan.wants_lines = true;
    plan.metadata = MetadataUse::All;
    let search = Search::new(scan, &selection, &plan, ask);
    if !plan.takes_all() {
        return search.run();
    }
    search.narrow()?;
    let is_narrow = search.bound.load(Ordering::Relaxed) < i64::MAX;
    let found = search.run()?;
    if !is_narrow || found.len() == ask.limit {
        return Ok(found);
    }
    // Among those counted were some that are there twice.
    search.bound.store(i64::MAX, Ordering::Relaxed);
    search.run()
}

struct Search<'q, 'a> {
    scan: Scan<'q>,
    selection: &'a LogSelection,
    plan: &'a Plan,
    ask: EntriesAsk,
    /// With their places in order of arrival, those that may hold the first entries first.
    parts: Vec<(usize, &'a LogPart)>,
    /// Of each stream of the selection its place in order of labels.
    stream_places: Vec<u32>,
    /// No entry whose time has a greater rank is in the answer.
    bound: AtomicI64,
}

struct Finder<'b> {
    rows: LogRowsBuffer,
    state: EntryState,
    found: Vec<Found>,
    /// Entries of the instant that is looked at.
    of_instant: HashSet<(u32, u128), RandomState>,
    held: HeldBytes<'b>,
}

impl<'q, 'a> Search<'q, 'a> {
    fn new(scan: Scan<'q>, selection: &'a LogSelection, plan: &'a Plan, ask: EntriesAsk) -> Search<'q, 'a> {
        let parts = selection.parts.iter().enumerate().filter(|(_, part)| part.range.overlaps(&ask.range));
        let mut search = Search {
            scan,
            selection,
            plan,
            ask,
            parts: parts.collect(),
            stream_places: places_by_labels(&selection.streams),
            bound: AtomicI64::new(i64::MAX),
        };
        let mut parts = std::mem::take(&mut search.parts);
        parts.sort_by_key(|(_, part)| search.first_rank(part));
        search.parts = parts;
        search
    }

    /// Complementing turns the order around without an overflow.
    fn rank(&self, value: i64) -> i64 {
        match self.ask.direction {
            Direction::Forward => value,
            Direction::Backward => !value,
        }
    }

    /// The rank of the first entry that the part may hold.
    fn first_rank(&self, part: &LogPart) -> i64 {
        match self.ask.direction {
            Direction::Forward => part.range.after.saturating_add(1),
            Direction::Backward => !part.range.until,
        }
    }

    /// The part of the asked range that can still have entries in the answer.
    fn range(&self) -> NanoRange {
        let last = self.rank(self.bound.load(Ordering::Relaxed));
        match self.ask.direction {
            Direction::Forward => NanoRange { until: self.ask.range.until.min(last), ..self.ask.range },
            Direction::Backward => {
                NanoRange { after: self.ask.range.after.max(last.saturating_sub(1)), ..self.ask.range }
            }
        }
    }

    fn is_behind(&self, part: &LogPart) -> bool {
        self.first_rank(part) > self.bound.load(Ordering::Relaxed)
    }

    /// Finds how far the answer reaches from the times alone, where every entry passes.
    fn narrow(&self) -> Result<(), QueryError> {
        let mut rows = LogRowsBuffer::default();
        let mut ranks: Vec<i64> = Vec::new();
        for (_, part) in &self.parts {
            if self.is_behind(part) {
                break;
            }
            let nothing = LogAsk {
                wants_lines: false,
                wants_metadata: false,
                wants_line_bytes: false,
                ..self.plan.ask(self.range())
            };
            self.scan.read(self.selection, part, &nothing, &mut rows)?;
            ranks.extend(rows.timestamps.iter().map(|time| self.rank(*time)));
            if ranks.len() >= self.ask.limit {
                let (_, last, _) = ranks.select_nth_unstable(self.ask.limit - 1);
                self.bound.fetch_min(*last, Ordering::Relaxed);
                ranks.truncate(self.ask.limit);
            }
        }
        Ok(())
    }

    fn run(&self) -> Result<Vec<Found>, QueryError> {
        let parts: Vec<&LogPart> = self.parts.iter().map(|(_, part)| *part).collect();
        let make = || Finder {
            rows: LogRowsBuffer::default(),
            state: EntryState::default(),
            found: Vec::new(),
            of_instant: HashSet::default(),
            held: HeldBytes::none(self.scan.budget),
        };
        let finders = self.scan.for_each(&parts, make, |finder, part, place| {
            if self.is_behind(part) {
                return Ok(false);
            }
            self.scan.read(self.selection, part, &self.plan.ask(self.range()), &mut finder.rows)?;
            self.find(finder, self.parts[place].0)?;
            self.cut(finder);
            Ok(true)
        })?;
        let mut found: Vec<Found> = finders.into_iter().flat_map(|finder| finder.found).collect();
        settle(&mut found, self.ask.direction);
        found.truncate(self.ask.limit);
        Ok(found)
    }

    /// Collects the first entries of a part that pass: not many more than the answer can have, but of an instant all, for
    /// a part has them in order of arrival.
    fn find(&self, finder: &mut Finder<'_>, part: usize) -> Result<(), QueryError> {
        let Finder { rows, state, found, of_instant, held } = finder;
        let (count, bound) = (rows.len(), self.bound.load(Ordering::Relaxed));
        let mut left = self.ask.limit;
        let (mut instant, lookout) = (None, self.scan.snapshot.lookout());
        for at in 0..count {
            let row = match self.ask.direction {
                Direction::Forward => at,
                Direction::Backward => count - 1 - at,
            };
            let time = rows.timestamps[row];
            if instant != Some(time) {
                if left == 0 || self.rank(time) > bound {
                    break;
                }
                instant = Some(time);
                of_instant.clear();
            }
            if lookout.gives_up_before(self.plan.line(rows, row).len()) {
                self.scan.budget.check()?;
            }
            if !self.plan.pass(self.selection, rows, row, state, &lookout) {
                continue;
            }
            let number = rows.streams[row];
            let identity = identity(rows.lines.get(row), rows.metadata.of(row));
            if of_instant.insert((number, identity)) {
                left = left.saturating_sub(1);
            }
            let stream = match self.plan.changes_labels {
                true => stream_labels(state),
                false => self.selection.streams[number as usize].clone(),
            };
            let line = answer_line(time, self.plan.line(rows, row), state);
            let place = Place { time, stream: self.stream_places[number as usize], part, row };
            let entry = Found { place, identity, stream, line };
            held.grow(entry.bytes())?;
            found.push(entry);
        }
        if lookout.has_given_up() {
            self.scan.budget.check()?;
        }
        Ok(())
    }

    /// Lets go of what cannot be in the answer, and tells the other threads.
    fn cut(&self, finder: &mut Finder<'_>) {
        let limit = self.ask.limit;
        if finder.found.len() < limit {
            return;
        }
        finder.held.shrink(settle(&mut finder.found, self.ask.direction));
        let Some(last) = finder.found.get(limit - 1) else { return };
        self.bound.fetch_min(self.rank(last.place.time), Ordering::Relaxed);
        // Which of a stream's entries of one instant comes first is not known before all are there that came twice.
        let last = (last.place.time, last.place.stream);
        let behind = finder.found[limit..].iter().position(|f| (f.place.time, f.place.stream) != last);
        let Some(behind) = behind else { return };
        for dropped in finder.found.drain(limit + behind..) {
            finder.held.shrink(dropped.bytes());
        }
    }
}

/// The labels of the stream as the stages left them.
pub fn stream_labels(state: &EntryState) -> Labels {
    let own = state.labels.iter().filter(|(_, _, category)| *category == Category::Stream);
    Labels::from_pairs(own.map(|(name, value, _)| (name, value))).expect("a name is there once")
}

/// The entry as the stages left it.
pub fn answer_line(timestamp: Nanos, original: &str, state: &EntryState) -> LogLine {
    let (mut metadata, mut parsed) = (Vec::new(), Vec::new());
    for (name, value, category) in state.labels.iter() {
        let pair = || (name.to_owned(), value.to_owned());
        match category {
            Category::Stream => {}
            Category::Metadata => metadata.push(pair()),
            Category::Parsed => parsed.push(pair()),
        }
    }
    parsed.extend(state.labels.error_labels().map(|(name, value)| (name.to_owned(), value.to_owned())));
    metadata.sort_unstable();
    parsed.sort_unstable();
    LogLine { timestamp, line: state.line(original).to_owned(), metadata, parsed }
}

/// In the order of the answer, gathered by stream.
fn by_stream(found: Vec<Found>) -> Vec<StreamAnswer> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut streams: Vec<StreamAnswer> = Vec::new();
    for Found { stream, line, .. } in found {
        let place = *places.entry(stream).or_insert_with_key(|labels| {
            streams.push(StreamAnswer { labels: labels.clone(), entries: Vec::new() });
            streams.len() - 1
        });
        streams[place].entries.push(line);
    }
    streams.sort_by(|a, b| a.labels.cmp(&b.labels));
    streams
}
