//! Sequences of 64-bit integers that are close to each other, to their predecessors, or to a straight line.
//!
//! Values, differences or differences of differences, whichever is smallest, in groups of 128: a base, a width
//! in bits for all, and a few exceptions that did not fit. Decoding is loops without branches per value.

mod estimate;
mod runs;

use std::borrow::Cow;
use std::ops::Range;

pub use estimate::Estimate;
pub use runs::Mark;
pub(super) use runs::Runs;

use super::bits::{self, GROUP};
use super::coded::{CODED_RESIDUALS_MIN, Coded, ENTRY_RESIDUALS};
use super::varint::{read_i64, write_i64, write_u64, zigzag};
use super::{Effort, Malformed, take, take_count, take_u8};

const EXCEPTIONS: u8 = 0x80;

/// Of a million series each has about twelve samples in a segment. To set up room for a whole group takes longer than to write
/// so few.
const FEW: usize = 16;

/// A position and a high part take about two bytes.
const EXCEPTION_BITS: usize = 16;

/// At most one in so many is left out of a window: more may be far away.
const LEFT_OUT_SHARE: usize = 4;

/// How many are left out to see what that saves.
const LEFT_OUT: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const LEFT_OUT_COUNT_BITS: usize = 8;

/// Less is passed by as soon as a mark is found.
pub const MARKED_MIN: usize = 2 * GROUP;

/// Added to the order where residuals are coded by how often they come.
const CODED: u8 = 4;

/// Added, too, where there are so many of them that some can be entered in the middle.
const ENTRIES: u8 = 8;

/// Appends `values`; their count is not written.
pub fn encode(values: &[i64], out: &mut Vec<u8>) {
    encode_with(values, Effort::Fast, out);
}

/// As [`encode`]; with [`Effort::Best`] by how often each residual comes, where that saves a ninth at least.
pub fn encode_with(values: &[i64], effort: Effort, out: &mut Vec<u8>) {
    encode_as(values, Estimate::of(values), effort, out);
}

/// As [`encode_with`], in the order of differences that was found the best.
pub fn encode_as(values: &[i64], found: Estimate, effort: Effort, out: &mut Vec<u8>) {
    let order = found.order;
    if effort == Effort::Best && values.len() >= order + CODED_RESIDUALS_MIN {
        let all = match order {
            0 => values.into(),
            _ => Cow::Owned(all_residuals(values, order)),
        };
        let pays = |cost_bits: usize| cost_bits + cost_bits / 8 < found.bits;
        if let Some(coded) = Coded::of(&all, pays) {
            let has_entries = all.len() > ENTRY_RESIDUALS;
            out.push(order as u8 | CODED | if has_entries { ENTRIES } else { 0 });
            put_first(values, order, out);
            put_entries(values, order, out);
            return coded.put(out);
        }
    }
    out.push(order as u8);
    put_first(values, order, out);
    encode_groups(values, order, out);
}

/// Takes `count` integers off the front of `bytes` and appends them.
pub fn decode(bytes: &mut &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Malformed> {
    // No group takes less than two bytes.
    out.reserve(count.min(bytes.len().saturating_mul(GROUP / 2)));
    for_each_group(bytes, count, |group| out.extend_from_slice(group))
}

/// As [`decode`], into a list of their own.
pub fn take_integers(bytes: &mut &[u8], count: usize) -> Result<Vec<i64>, Malformed> {
    let mut values = Vec::new();
    decode(bytes, count, &mut values)?;
    Ok(values)
}

/// Takes `count` integers off the front of `bytes` and hands them over in short runs.
pub fn for_each_group(
    bytes: &mut &[u8],
    count: usize,
    mut each: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    for_each_wanted_group(bytes, count, |_| true, |_, group| each(group))
}

/// As [`for_each_group`], but only those runs that hold numbers of `wants`, each with the place of its first one; what
/// others do not build on is not unpacked.
pub fn for_each_wanted_group(
    bytes: &mut &[u8],
    count: usize,
    wants: impl Fn(Range<usize>) -> bool,
    mut each: impl FnMut(usize, &[i64]),
) -> Result<(), Malformed> {
    let mut runs = Runs::open(bytes, count)?;
    loop {
        let places = runs.next_places();
        let first = places.start;
        if places.is_empty() {
            break;
        }
        if wants(places) {
            each(first, runs.next()?);
        } else {
            runs.skip()?;
        }
    }
    *bytes = runs.finish()?;
    Ok(())
}

/// As [`for_each_group`], but only the numbers in these places; `bytes` hold nothing else. What is before them is
/// unpacked from the last entry on, and what is behind them is not looked at.
pub fn for_each_group_in(
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    each: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    for_each_group_from(&mut None, bytes, count, wanted, each)
}

/// As [`for_each_group_in`]; but starts from the mark, which was set among the same numbers, if that is nearer, and sets one
/// where those begin that are wanted, unless it is there.
pub fn for_each_group_from(
    mark: &mut Option<Mark>,
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    mut each: impl FnMut(&[i64]),
) -> Result<(), Malformed> {
    let mut runs = Runs::open(bytes, count)?;
    runs.enter(wanted.start, mark.as_ref())?;
    let mut has_passed = false;
    loop {
        let places = runs.next_places();
        if places.is_empty() {
            return runs.finish_all();
        }
        if places.start >= wanted.end {
            return Ok(());
        }
        if places.end <= wanted.start {
            runs.skip()?;
            has_passed = true;
            continue;
        }
        if std::mem::take(&mut has_passed) && places.start >= MARKED_MIN {
            *mark = Some(runs.mark());
        }
        let from = wanted.start.saturating_sub(places.start);
        let to = wanted.end.min(places.end) - places.start;
        each(&runs.next()?[from..to]);
    }
}

/// Appends what the residuals start from.
fn put_first(values: &[i64], order: usize, out: &mut Vec<u8>) {
    if order >= 1 && !values.is_empty() {
        write_i64(out, values[0]);
    }
    if order == 2 && values.len() >= 2 {
        write_i64(out, values[1].wrapping_sub(values[0]));
    }
}

/// Appends what the residuals of each entry are added to, less that of the entry before it.
fn put_entries(values: &[i64], order: usize, out: &mut Vec<u8>) {
    let difference_at = |at: usize| values[at].wrapping_sub(values[at - 1]);
    let (mut number, mut difference) = (values[0], if order == 2 { difference_at(1) } else { 0 });
    for at in (order..values.len()).step_by(ENTRY_RESIDUALS).skip(1) {
        if order >= 1 {
            write_i64(out, values[at - 1].wrapping_sub(number));
            number = values[at - 1];
        }
        if order == 2 {
            write_i64(out, difference_at(at - 1).wrapping_sub(difference));
            difference = difference_at(at - 1);
        }
    }
}

fn encode_groups(values: &[i64], order: usize, out: &mut Vec<u8>) {
    if values.len() <= FEW {
        return encode_groups_of::<FEW>(values, order, out);
    }
    encode_groups_of::<GROUP>(values, order, out);
}

fn encode_groups_of<const LEN: usize>(values: &[i64], order: usize, out: &mut Vec<u8>) {
    let mut group = [0; LEN];
    let mut at = order;
    while at < values.len() {
        let group = &mut group[..(values.len() - at).min(LEN)];
        residuals(values, order, at, group);
        encode_group::<LEN>(group, out);
        at += group.len();
    }
}

/// The residuals of `values[at..]`, as many as `to` holds.
fn residuals(values: &[i64], order: usize, at: usize, to: &mut [i64]) {
    let end = at + to.len();
    match order {
        0 => to.copy_from_slice(&values[at..end]),
        1 => {
            for (slot, w) in to.iter_mut().zip(values[at - 1..end].windows(2)) {
                *slot = w[1].wrapping_sub(w[0]);
            }
        }
        _ => {
            for (slot, w) in to.iter_mut().zip(values[at - 2..end].windows(3)) {
                *slot = w[2].wrapping_sub(w[1]).wrapping_sub(w[1].wrapping_sub(w[0]));
            }
        }
    }
}

fn all_residuals(values: &[i64], order: usize) -> Vec<i64> {
    let mut all = vec![0; values.len() - order];
    residuals(values, order, order, &mut all);
    all
}

/// Of no values the least is above the greatest.
pub(super) fn min_max(values: &[i64]) -> (i64, i64) {
    // In one pair, each comparison would wait for the one before.
    let mut lanes = [(i64::MAX, i64::MIN); 4];
    let wider = |(min, max): (i64, i64), value: i64| (min.min(value), max.max(value));
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        lanes.iter_mut().zip(four).for_each(|(lane, &value)| *lane = wider(*lane, value));
    }
    lanes[0] = rest.iter().fold(lanes[0], |lane, &value| wider(lane, value));
    lanes.into_iter().fold(lanes[0], |(min, max), (low, high)| (min.min(low), max.max(high)))
}

pub(super) fn varint_bits(value: i64) -> usize {
    8 * bit_len(zigzag(value)).div_ceil(7).max(1)
}

fn bit_len(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// Base and width of a group, and how many values fall outside.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    base: i64,
    width: u32,
    exceptions: usize,
}

fn encode_group<const LEN: usize>(residuals: &[i64], out: &mut Vec<u8>) {
    let window = choose_window::<LEN>(residuals);
    let offsets = |r: i64| r.wrapping_sub(window.base);
    let high = |r: i64| if window.width == 64 { 0 } else { offsets(r) >> window.width };
    let has_exceptions = window.exceptions > 0;
    out.push(window.width as u8 | if has_exceptions { EXCEPTIONS } else { 0 });
    write_i64(out, window.base);
    if has_exceptions {
        write_u64(out, window.exceptions as u64);
    }
    let mut packed = [0; LEN];
    for (slot, &r) in packed.iter_mut().zip(residuals) {
        *slot = offsets(r) as u64;
    }
    bits::pack(&packed[..residuals.len()], window.width, out);
    if has_exceptions {
        let outside = || residuals.iter().enumerate().filter(|&(_, &r)| high(r) != 0);
        out.extend(outside().map(|(at, _)| at as u8));
        outside().for_each(|(_, &r)| write_i64(out, high(r)));
    }
}

fn choose_window<const LEN: usize>(residuals: &[i64]) -> Window {
    let (min, max) = min_max(residuals);
    let widest = Window { base: min, width: width_between(min, max), exceptions: 0 };
    let may_pay = widest.width > 0 && (LEN == FEW || may_leave_out(residuals, &widest));
    if may_pay { cheapest_window::<LEN>(residuals, widest) } else { widest }
}

/// The cheapest window over the sorted residuals: leaving out the few smallest and largest may save bits on all.
fn cheapest_window<const LEN: usize>(residuals: &[i64], widest: Window) -> Window {
    let mut sorted = [0; LEN];
    let sorted = &mut sorted[..residuals.len()];
    sorted.copy_from_slice(residuals);
    if LEN == FEW {
        sort_few(sorted)
    } else {
        sorted.sort_unstable()
    }
    let count = residuals.len();
    let mut best = (widest.width as usize * count, widest.base, widest.width);
    for left_out in LEFT_OUT {
        if left_out * LEFT_OUT_SHARE > count || left_out * EXCEPTION_BITS >= best.0 {
            break;
        }
        // Some of the smallest, and the others of the greatest.
        let windows = || sorted.iter().zip(&sorted[count - 1 - left_out..]);
        let distance = |(low, top): (&i64, &i64)| top.wrapping_sub(*low) as u64;
        let width = width_of(windows().map(distance).min().expect("there are more than are left out"));
        let cost = width as usize * count + left_out * EXCEPTION_BITS + LEFT_OUT_COUNT_BITS;
        if cost < best.0 {
            let first = windows().find(|&window| width_of(distance(window)) == width);
            best = (cost, *first.expect("one has this width").0, width);
        }
    }
    let (_, base, width) = best;
    let is_outside = |r: &&i64| width < 64 && r.wrapping_sub(base) >> width != 0;
    Window { base, width, exceptions: residuals.iter().filter(is_outside).count() }
}

/// Bits that tell apart what lies between these. A distance of 2^63 and more would turn the signed high part around.
fn width_between(low: i64, high: i64) -> u32 {
    width_of(high.wrapping_sub(low) as u64)
}

fn width_of(distance: u64) -> u32 {
    match bit_len(distance) {
        63.. => 64,
        width => width as u32,
    }
}

/// Whether a narrower window may be cheaper, told without sorting: by how many residuals lie in each part of the widest.
fn may_leave_out(residuals: &[i64], widest: &Window) -> bool {
    const BIN_BITS: u32 = 4;
    const BINS: usize = 1 << BIN_BITS;
    if widest.width == u64::BITS {
        return true;
    }
    // No bin holds more than there are.
    const { assert!(GROUP <= u8::MAX as usize) }
    let (bin_width, binned_width) = (widest.width.saturating_sub(BIN_BITS), widest.width.min(BIN_BITS));
    let mut before = [0u8; BINS + 1];
    for residual in residuals {
        let bin = residual.wrapping_sub(widest.base) as u64 >> bin_width;
        before[1 + bin as usize % BINS] += 1;
    }
    (0..BINS).for_each(|bin| before[bin + 1] += before[bin]);
    // Four bits saved pay for a quarter of the residuals, and no more of them may be left out.
    const BITS_SAVED_MAX: u32 = 4;
    const { assert!(BITS_SAVED_MAX as usize * LEFT_OUT_SHARE == EXCEPTION_BITS) };
    (1..=binned_width.min(BITS_SAVED_MAX)).any(|bits_saved| {
        // Where a bin is no single number, a window may begin inside one and touch one more.
        let bins = (1 << (binned_width - bits_saved)) + usize::from(bin_width > 0);
        let held = before[bins..].iter().zip(&before).map(|(until, from)| until - from).max().unwrap_or(0);
        let outside = residuals.len() - usize::from(held);
        let left_out = LEFT_OUT.into_iter().find(|&left_out| left_out >= outside);
        left_out.filter(|left_out| left_out * LEFT_OUT_SHARE <= residuals.len()).is_some_and(|left_out| {
            let bits = left_out * EXCEPTION_BITS + LEFT_OUT_COUNT_BITS;
            bits_saved == BITS_SAVED_MAX || bits < bits_saved as usize * residuals.len()
        })
    })
}

/// Sorts without a branch: where they are few and in any order, a branch is guessed wrong as often as not.
fn sort_few<T: Ord + Copy>(values: &mut [T]) {
    for end in 1..values.len() {
        let mut greatest = values[end];
        for slot in &mut values[..end] {
            (*slot, greatest) = ((*slot).min(greatest), (*slot).max(greatest));
        }
        values[end] = greatest;
    }
}

/// Takes what stands before a group's numbers off the front: their width, their base and the count of exceptions.
fn take_group_head(bytes: &mut &[u8], len: usize) -> Result<(u32, i64, usize), Malformed> {
    let head = take_u8(bytes)?;
    let width = u32::from(head & !EXCEPTIONS);
    if width > 64 {
        return Err(Malformed("a width exceeds 64 bits"));
    }
    let base = read_i64(bytes)?;
    let exceptions = if head & EXCEPTIONS != 0 { take_count(bytes, len)? } else { 0 };
    Ok((width, base, exceptions))
}

fn skip_group(bytes: &mut &[u8], len: usize) -> Result<(), Malformed> {
    let (width, _, exceptions) = take_group_head(bytes, len)?;
    take(bytes, bits::packed_len(len, width) + exceptions)?;
    for _ in 0..exceptions {
        read_i64(bytes)?;
    }
    Ok(())
}

fn decode_group(bytes: &mut &[u8], group: &mut [i64]) -> Result<(), Malformed> {
    let (width, base, exceptions) = take_group_head(bytes, group.len())?;
    let mut packed = [0; GROUP];
    let packed = &mut packed[..group.len()];
    bits::unpack(bytes, width, packed)?;
    for (slot, &low) in group.iter_mut().zip(packed.iter()) {
        *slot = base.wrapping_add(low as i64);
    }
    for &at in take(bytes, exceptions)? {
        let high = read_i64(bytes)?;
        let slot = group.get_mut(at as usize).ok_or(Malformed("an exception lies outside its group"))?;
        *slot = slot.wrapping_add(high.checked_shl(width).unwrap_or(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(values: &[i64]) -> Vec<u8> {
        bytes_with(values, Effort::Best);
        bytes_with(values, Effort::Fast)
    }

    fn bytes_with(values: &[i64], effort: Effort) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_with(values, effort, &mut bytes);
        let (mut slice, mut back) = (&bytes[..], Vec::new());
        decode(&mut slice, values.len(), &mut back).unwrap();
        assert_eq!(back, values);
        assert!(slice.is_empty());
        bytes
    }

    fn window_of(residuals: &[i64]) -> (Window, Window) {
        let (min, max) = (*residuals.iter().min().unwrap(), *residuals.iter().max().unwrap());
        let widest = Window { base: min, width: width_between(min, max), exceptions: 0 };
        (choose_window::<GROUP>(residuals), plainly_cheapest(residuals, widest))
    }

    /// Of all windows one after the other.
    fn plainly_cheapest(residuals: &[i64], widest: Window) -> Window {
        let (mut sorted, count) = (residuals.to_vec(), residuals.len());
        sorted.sort_unstable();
        let mut best = (widest.width as usize * count, widest.base, widest.width);
        for left_out in LEFT_OUT.into_iter().take_while(|left_out| left_out * LEFT_OUT_SHARE <= count) {
            for low in 0..=left_out {
                let (base, top) = (sorted[low], sorted[count - 1 - (left_out - low)]);
                let width = width_between(base, top);
                let cost = width as usize * count + left_out * EXCEPTION_BITS + LEFT_OUT_COUNT_BITS;
                if cost < best.0 {
                    best = (cost, base, width);
                }
            }
        }
        let (_, base, width) = best;
        let is_outside = |r: &&i64| width < 64 && r.wrapping_sub(base) >> width != 0;
        Window { base, width, exceptions: residuals.iter().filter(is_outside).count() }
    }

    #[test]
    fn the_least_and_the_greatest_are_of_all() {
        let values: Vec<i64> = (0..23).map(|i| (i * 7 % 23) - 11).collect();
        for len in 1..=values.len() {
            let of = &values[..len];
            assert_eq!(min_max(of), (*of.iter().min().unwrap(), *of.iter().max().unwrap()));
        }
    }

    proptest! {
        /// Bulk and far values of any spread.
        #[test]
        fn a_window_is_chosen_as_if_all_were_sorted(
            spreads in prop::collection::vec(0..63u32, 1..4),
            picks in prop::collection::vec((0..40usize, any::<i64>()), 1..=GROUP),
        ) {
            let residual = |(pick, any): (usize, i64)| any >> spreads[pick.min(spreads.len() - 1).saturating_sub(pick / 8)];
            let residuals: Vec<i64> = picks.into_iter().map(residual).collect();
            let (chosen, sorted) = window_of(&residuals);
            prop_assert_eq!(chosen, sorted);
        }

        /// The bulk takes so few bits that each number may be told apart.
        #[test]
        fn a_narrow_window_is_chosen_as_if_all_were_sorted(
            (bulk, far) in (0..=3u32, 1..=6u32).prop_flat_map(|(bulk_width, far_width)| {
                (prop::collection::vec(0..1i64 << bulk_width, GROUP), prop::collection::vec(0..1i64 << far_width, 0..=40))
            }),
            places in Just((0..GROUP).collect::<Vec<_>>()).prop_shuffle(), base: i64,
        ) {
            let mut residuals: Vec<i64> = bulk.into_iter().map(|value| base.wrapping_add(value)).collect();
            far.into_iter().zip(places).for_each(|(far, place)| residuals[place] = base.wrapping_add(far));
            let (chosen, sorted) = window_of(&residuals);
            prop_assert_eq!(chosen, sorted);
        }
    }

    #[test]
    fn with_effort_a_walk_costs_what_its_steps_tell() {
        let mut value = 50;
        let mut walk = |i: i64| {
            value += [0, 0, 0, 1, -1, 0, 1, -1, 2, -2, 0, 0, 1, -1, 0, -3][(i * i * 31 % 257 % 16) as usize];
            value
        };
        let walk: Vec<i64> = (0..2000).map(&mut walk).collect();
        let (fast, best) = (bytes_with(&walk, Effort::Fast), bytes_with(&walk, Effort::Best));
        assert_eq!((fast[0], best[0]), (1, 1 | CODED));
        assert!(best.len() * 5 < fast.len() * 4, "{} instead of {}", best.len(), fast.len());
    }

    #[test]
    fn a_straight_line_takes_next_to_nothing() {
        let line: Vec<i64> = (0..8192).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(bytes_of(&line).len() < 300);
    }

    #[test]
    fn one_outlier_of_either_sign_costs_a_few_bytes() {
        let mut steps: Vec<i64> = (0..128).map(|i| i % 2).collect();
        let plain = bytes_of(&steps).len();
        for outlier in [1_000, -1_000] {
            steps[64] = outlier;
            assert!(bytes_of(&steps).len() <= plain + 8);
        }
    }

    proptest! {
        #[test]
        fn few_are_written_as_many_are(values in prop::collection::vec(-500i64..500, 1..=FEW), far: i64) {
            let mut spiky = values.clone();
            spiky[0] = far;
            for values in [values, spiky] {
                for order in 0..=2.min(values.len()) {
                    let (mut few, mut many) = (Vec::new(), Vec::new());
                    encode_groups_of::<FEW>(&values, order, &mut few);
                    encode_groups_of::<GROUP>(&values, order, &mut many);
                    prop_assert_eq!(few, many);
                }
            }
        }
    }

    #[test]
    fn extremes_come_back() {
        bytes_of(&[]);
        bytes_of(&[i64::MIN]);
        bytes_of(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN]);
        let mut wild = vec![0; 300];
        (wild[7], wild[70], wild[299]) = (i64::MAX, i64::MIN, i64::MIN + 1);
        bytes_of(&wild);
    }

    proptest! {
        #[test]
        fn any_integers_come_back(values in prop::collection::vec(any::<i64>(), 0..400)) {
            bytes_of(&values);
        }

        #[test]
        fn small_and_rarely_large_integers_come_back(values in prop::collection::vec(prop_oneof![9 => -20i64..20, 1 => any::<i64>()], 0..400)) {
            bytes_of(&values);
        }

        #[test]
        fn some_come_back_alone(values in prop::collection::vec(prop_oneof![29 => -20i64..20, 1 => any::<i64>()], 1..600), place: prop::sample::Index, best: bool) {
            let effort = if best { Effort::Best } else { Effort::Fast };
            let (bytes, wanted) = (bytes_with(&values, effort), place.index(values.len()));
            let (mut slice, mut found) = (&bytes[..], Vec::new());
            let add = |first: usize, group: &[i64]| found.extend((first..).zip(group.iter().copied()));
            for_each_wanted_group(&mut slice, values.len(), |run| run.contains(&wanted), add).unwrap();
            prop_assert!(found.contains(&(wanted, values[wanted])));
            prop_assert!(found.len() <= GROUP && found.iter().all(|&(at, value)| values[at] == value));
            prop_assert!(slice.is_empty());
        }

        #[test]
        fn foreign_bytes_never_panic(head in 0u8..8, bytes: Vec<u8>, count in 0usize..1000) {
            let (bytes, mut out) = ([&[head], &bytes[..]].concat(), Vec::new());
            let _ = for_each_wanted_group(&mut &bytes[..], count, |run| run.contains(&(count / 2)), |_, _| {});
            let _ = decode(&mut &bytes[..], count, &mut out);
            prop_assert!(out.len() <= count);
        }
    }
}
