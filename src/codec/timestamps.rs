//! Columns of strictly increasing timestamps.

use std::ops::Range;

use super::integers::{self, Runs};
use super::varint::{read_i64, read_u64, write_i64, write_u64};
use super::{Effort, Malformed, take_u8};
use crate::model::TimeRange;

const REGULAR: u8 = 1;
const INTEGERS: u8 = 2;

/// Appends codec and payload.
pub fn encode(timestamps: &[i64], out: &mut Vec<u8>) {
    encode_with(timestamps, Effort::Fast, out);
}

/// As [`encode`], but as small as the effort allows.
pub fn encode_with(timestamps: &[i64], effort: Effort, out: &mut Vec<u8>) {
    let step = match timestamps {
        [a, b, ..] => b.wrapping_sub(*a),
        _ => 1,
    };
    let is_regular = !timestamps.is_empty() && timestamps.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step);
    if is_regular {
        out.push(REGULAR);
        write_i64(out, timestamps[0]);
        write_u64(out, step as u64);
    } else {
        out.push(INTEGERS);
        integers::encode_with(timestamps, effort, out);
    }
}

/// Appends the `count` timestamps that codec and payload in `bytes` stand for.
pub fn decode(mut bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    let start = out.len();
    match take_u8(&mut bytes)? {
        REGULAR => {
            Regular::take(bytes, count)?.put(out);
            return Ok(());
        }
        INTEGERS => integers::decode(&mut bytes, count, out)?,
        _ => return Err(Malformed("unknown codec of timestamps")),
    }
    if !bytes.is_empty() {
        return Err(Malformed("bytes after the timestamps"));
    }
    increase(&out[start..])
}

/// As [`decode`], but only the timestamps in the range; answers with their places. Little more is unpacked.
pub fn decode_in(
    mut bytes: &[u8],
    count: usize,
    range: TimeRange,
    out: &mut Vec<i64>,
) -> Result<Range<usize>, Malformed> {
    if let Some((times, places)) = regular_in(bytes, count, range)? {
        times.put(out);
        return Ok(places);
    }
    match take_u8(&mut bytes)? {
        INTEGERS => decode_integers_in(bytes, count, range, out),
        _ => Err(Malformed("unknown codec of timestamps")),
    }
}

/// The timestamps in the range and their places, if all are at one distance.
pub fn regular_in(
    bytes: &[u8],
    count: usize,
    range: TimeRange,
) -> Result<Option<(Regular, Range<usize>)>, Malformed> {
    let Some((&REGULAR, payload)) = bytes.split_first() else { return Ok(None) };
    let all = Regular::take(payload, count)?;
    let places = all.count_until(range.after)..all.count_until(range.until);
    Ok(Some((Regular { first: all.at(places.start), count: places.len(), ..all }, places)))
}

fn decode_integers_in(
    bytes: &[u8],
    count: usize,
    range: TimeRange,
    out: &mut Vec<i64>,
) -> Result<Range<usize>, Malformed> {
    let mut runs = Runs::open(bytes, count)?;
    runs.enter_above(range.after)?;
    let (start, mut first) = (out.len(), None);
    loop {
        let places = runs.next_places();
        if places.is_empty() {
            runs.finish_all()?;
            break;
        }
        let run = runs.next()?;
        increase(run)?;
        let inside = range.slice_of(run);
        if !inside.is_empty() {
            first.get_or_insert(places.start + inside.start);
            out.extend_from_slice(&run[inside.clone()]);
        }
        if inside.end < run.len() {
            break;
        }
    }
    increase(&out[start..])?;
    let first = first.unwrap_or(0);
    Ok(first..first + out.len() - start)
}

fn increase(timestamps: &[i64]) -> Result<(), Malformed> {
    let is_right = timestamps.windows(2).all(|w| w[0] < w[1]);
    if is_right { Ok(()) } else { Err(NOT_INCREASING) }
}

const NOT_INCREASING: Malformed = Malformed("timestamps do not increase");

/// Timestamps at one distance. Invariant: they increase, and the last one has 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regular {
    first: i64,
    step: u64,
    count: usize,
}

impl Regular {
    /// `bytes` hold nothing else.
    fn take(mut bytes: &[u8], count: usize) -> Result<Regular, Malformed> {
        let regular = Regular { first: read_i64(&mut bytes)?, step: read_u64(&mut bytes)?, count };
        if !bytes.is_empty() {
            return Err(Malformed("bytes after the timestamps"));
        }
        let steps = count.saturating_sub(1) as u64;
        let last = regular.step.checked_mul(steps).and_then(|way| regular.first.checked_add_unsigned(way));
        if steps > 0 && (regular.step == 0 || last.is_none()) { Err(NOT_INCREASING) } else { Ok(regular) }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The one in this place; behind the last one, as if they went on.
    pub fn at(&self, place: usize) -> i64 {
        self.first.wrapping_add_unsigned(self.step.wrapping_mul(place as u64))
    }

    /// As many as there are, or fewer.
    pub fn truncated(self, count: usize) -> Regular {
        Regular { count: count.min(self.count), ..self }
    }

    /// With those that follow, if they are at the same distance.
    pub fn and(self, more: Regular) -> Option<Regular> {
        let goes_on = self.step == more.step && more.first == self.at(self.count);
        goes_on.then(|| Regular { count: self.count + more.count, ..self })
    }

    /// Appends them.
    pub fn put(&self, out: &mut Vec<i64>) {
        const LANES: usize = 8;
        let len = out.len();
        out.resize(len + self.count, 0);
        let (chunks, rest) = out[len..].as_chunks_mut::<LANES>();
        // Several are reckoned side by side, by additions alone.
        let mut lanes: [i64; LANES] = std::array::from_fn(|lane| self.at(lane));
        let far = self.step.wrapping_mul(LANES as u64);
        for chunk in chunks {
            *chunk = lanes;
            lanes.iter_mut().for_each(|time| *time = time.wrapping_add_unsigned(far));
        }
        rest.iter_mut().zip(lanes).for_each(|(slot, time)| *slot = time);
    }

    /// How many come at or before `time`.
    fn count_until(&self, time: i64) -> usize {
        if time < self.first {
            return 0;
        }
        let steps = time.abs_diff(self.first) / self.step.max(1);
        usize::try_from(steps).map_or(self.count, |steps| steps.saturating_add(1).min(self.count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(timestamps: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(timestamps, &mut bytes);
        let mut back = Vec::new();
        decode(&bytes, timestamps.len(), &mut back).unwrap();
        assert_eq!(back, timestamps);
        bytes
    }

    #[test]
    fn a_regular_grid_takes_ten_bytes_whatever_its_length() {
        let grid: Vec<i64> = (0..8192).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(bytes_of(&grid).len() <= 10);
    }

    #[test]
    fn a_grid_with_a_gap_and_jitter_stays_small() {
        let grid: Vec<i64> =
            (0..8192).map(|i| i * 15_000 + (i % 7) + if i > 99 { 60_000 } else { 0 }).collect();
        assert!(bytes_of(&grid).len() < 8192 * 5 / 8);
    }

    proptest! {
        #[test]
        fn any_timestamps_come_back(set in prop::collection::btree_set(any::<i64>(), 1..300)) {
            bytes_of(&set.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn those_in_a_range_come_back_as_all_do(
            gaps in prop::collection::vec(1i64..60_000, 1..40), len in 1usize..7000, jitter in 1i64..300,
            ends in any::<(prop::sample::Index, prop::sample::Index)>(), off_by in -2i64..3, best: bool,
        ) {
            let mut time = -1_000_000;
            let mut next = |i: usize| { time += 15_000 + gaps[i * i % gaps.len()] % jitter; time };
            let timestamps: Vec<i64> = (0..len).map(&mut next).collect();
            let mut bytes = Vec::new();
            encode_with(&timestamps, if best { Effort::Best } else { Effort::Fast }, &mut bytes);
            let (a, b) = (timestamps[ends.0.index(len)] + off_by, timestamps[ends.1.index(len)]);
            let range = TimeRange { after: a.min(b), until: a.max(b) };
            let mut some = vec![7];
            let places = decode_in(&bytes, len, range, &mut some).unwrap();
            let expected = range.slice_of(&timestamps);
            prop_assert_eq!(&some[1..], &timestamps[expected.clone()]);
            prop_assert!(places == expected || expected.is_empty() && places.is_empty());
        }

        #[test]
        fn foreign_bytes_never_panic(codec in 0u8..4, bytes: Vec<u8>, count in 0usize..1000, after: i64, until: i64) {
            let bytes = [&[codec], &bytes[..]].concat();
            let _ = decode(&bytes, count, &mut Vec::new());
            let mut out = Vec::new();
            if let Ok(places) = decode_in(&bytes, count, TimeRange { after, until }, &mut out) {
                prop_assert!(places.len() == out.len() && places.end <= count);
            }
        }
    }
}
