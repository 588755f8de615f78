//! Runs of residuals by how often each comes: low bits as they are, the rest as symbols of [`ans`](super::ans), and a few
//! exceptions that are far from all others. Of a long run some can be unpacked without those before them.

use std::iter::Peekable;
use std::vec;

use super::ans::{self, LANES, Shares};
use super::bits::{self, GROUP};
use super::integers::min_max;
use super::varint::{read_i64, read_u64, write_i64, write_u64};
use super::{Malformed, take, take_count, take_u8};

/// Shares alone take more than so few may save.
pub const CODED_RESIDUALS_MIN: usize = 16;

/// As many symbols as the finest shares are for.
const SYMBOLS_MAX: usize = 1 << (ans::LOG_MAX - 2);

/// A symbol has eight bits; more low bits would push it out of 64.
const LOW_MAX: u32 = 56;

/// A run may take next to no bytes, so its bytes do not bound what it unpacks to; this does.
const RESIDUALS_MAX: usize = 1 << 16;

/// An entry takes some eight bytes with what stands for it elsewhere: a hundredth of what so many residuals of a series take; and
/// these are unpacked in some microseconds.
pub const ENTRY_RESIDUALS: usize = 2048;

const ENTRY_BITS: usize = 64;

/// A position, a correction and the symbol in its place.
const EXCEPTION_BITS: usize = 28;

/// Residuals ready to be written.
pub struct Coded {
    low: u32,
    base: i64,
    shares: Shares,
    symbols: Vec<u8>,
    lows: Vec<u64>,
    /// Position and what is missing there.
    exceptions: Vec<(usize, i64)>,
}

impl Coded {
    /// `None` where that does not pay: `pays` is asked of about how many bits it takes, and of fewer before that is known. Or there are
    /// few residuals, or too many that are far from the others.
    pub fn of(residuals: &[i64], pays: impl Fn(usize) -> bool) -> Option<Coded> {
        if !(CODED_RESIDUALS_MIN..=RESIDUALS_MAX).contains(&residuals.len()) {
            return None;
        }
        let log = ans::log_for(residuals.len());
        let symbols_max = 1usize << (log - 2);
        let (low, base) = choose_window(residuals, symbols_max)?;
        let around_symbols = residuals.len() * low as usize
            + 16
            + (residuals.len() - 1) / ENTRY_RESIDUALS * ENTRY_BITS
            + super::integers::varint_bits(base);
        if !pays(around_symbols + Shares::least_cost_bits(log)) {
            return None;
        }
        let mut counts = [0u32; SYMBOLS_MAX];
        let counts = &mut counts[..symbols_max];
        let mut symbols = Vec::with_capacity(residuals.len());
        let mut outside = Vec::new();
        for (at, &residual) in residuals.iter().enumerate() {
            let symbol = residual.wrapping_sub(base) as u64 >> low;
            if symbol < symbols_max as u64 {
                counts[symbol as usize] += 1;
                symbols.push(symbol as u8);
            } else {
                outside.push(at);
                symbols.push(0);
            }
        }
        if outside.len() > residuals.len() / 8 {
            return None;
        }
        // An exception takes the cheapest place.
        let common = (0..symbols_max).max_by_key(|&symbol| counts[symbol])?;
        counts[common] += outside.len() as u32;
        let shares = Shares::of_counts(counts, log);
        if !pays(around_symbols + shares.cost_bits(counts) + outside.len() * EXCEPTION_BITS) {
            return None;
        }
        let stands_for = base.wrapping_add((common << low) as i64);
        let mask = (1u64 << low) - 1;
        let mut lows: Vec<u64> = Vec::new();
        if low > 0 {
            lows.extend(residuals.iter().map(|r| r.wrapping_sub(base) as u64 & mask));
        }
        let mut exceptions = Vec::with_capacity(outside.len());
        for at in outside {
            symbols[at] = common as u8;
            if low > 0 {
                lows[at] = 0;
            }
            exceptions.push((at, residuals[at].wrapping_sub(stands_for)));
        }
        Some(Coded { low, base, shares, symbols, lows, exceptions })
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.low as u8);
        write_i64(out, self.base);
        self.shares.put(out);
        write_u64(out, self.exceptions.len() as u64);
        let mut next = 0;
        for &(at, missing) in &self.exceptions {
            write_u64(out, (at - next) as u64);
            write_i64(out, missing);
            next = at + 1;
        }
        let mut symbols = Vec::new();
        let mut bit = 0;
        for entry in ans::encode(&self.shares, &self.symbols, ENTRY_RESIDUALS, &mut symbols) {
            write_u64(out, (entry.bit - bit) as u64);
            out.extend_from_slice(&entry.states);
            bit = entry.bit;
        }
        bits::pack(&self.lows, self.low, out);
        out.append(&mut symbols);
    }
}

/// How many entries there are among so many residuals that have some.
pub fn entry_count(residual_count: usize) -> Result<usize, Malformed> {
    match residual_count {
        _ if residual_count <= ENTRY_RESIDUALS => Err(Malformed("so few residuals have no entries")),
        _ if residual_count > RESIDUALS_MAX => Err(TOO_LONG),
        _ => Ok((residual_count - 1) / ENTRY_RESIDUALS),
    }
}

const TOO_LONG: Malformed = Malformed("a run of residuals is too long");

/// How many low bits go as they are, and what the first symbol stands for: so that the bulk of a sample of the residuals takes
/// about a quarter of the symbols there may be.
fn choose_window(residuals: &[i64], symbols_max: usize) -> Option<(u32, i64)> {
    const SAMPLE: usize = 64;
    let stride = residuals.len().div_ceil(SAMPLE);
    let cut = residuals.len().div_ceil(stride) / 24;
    let (from, to) = without_outermost(residuals.iter().step_by(stride).copied(), cut);
    let spread = to.wrapping_sub(from) as u64;
    let len = u64::BITS - spread.leading_zeros();
    let low = len.saturating_sub(symbols_max.ilog2() - 1);
    if low > LOW_MAX {
        return None;
    }
    let room = (symbols_max as u64) << low;
    // The bulk in the middle, but nothing wasted below the least.
    let base = from.wrapping_sub(((room - spread) / 2) as i64);
    let (min, _) = min_max(residuals);
    Some((low, if min.wrapping_sub(base) as u64 <= room && min > base { min } else { base }))
}

/// The least and the greatest but for so many at either end, which are two at most.
fn without_outermost(values: impl Iterator<Item = i64>, cut: usize) -> (i64, i64) {
    let (mut least, mut greatest) = ([i64::MAX; 3], [i64::MIN; 3]);
    for value in values {
        let (mut low, mut high) = (value, value);
        for slot in &mut least {
            (*slot, low) = ((*slot).min(low), (*slot).max(low));
        }
        for slot in &mut greatest {
            (*slot, high) = ((*slot).max(high), (*slot).min(high));
        }
    }
    (least[cut], greatest[cut])
}

/// Residuals on disk, unpacked in groups.
pub struct CodedGroups<'a> {
    low: u32,
    base: i64,
    exceptions: Peekable<vec::IntoIter<(usize, i64)>>,
    entries: Vec<ans::Entry>,
    /// Of residuals that are not unpacked yet.
    lows: &'a [u8],
    decoder: ans::Decoder<'a>,
    /// How many are unpacked or passed by.
    done: usize,
    count: usize,
}

impl<'a> CodedGroups<'a> {
    /// `count` residuals, which begin at the front of `bytes`.
    pub fn open(mut bytes: &'a [u8], count: usize, entry_count: usize) -> Result<CodedGroups<'a>, Malformed> {
        if count > RESIDUALS_MAX {
            return Err(TOO_LONG);
        }
        let low = u32::from(take_u8(&mut bytes)?);
        if low > LOW_MAX {
            return Err(Malformed("there are too many low bits"));
        }
        let base = read_i64(&mut bytes)?;
        let shares = Shares::take(&mut bytes)?;
        let exceptions = take_exceptions(&mut bytes, count)?;
        let entries = take_entries(&mut bytes, entry_count)?;
        let lows = take(&mut bytes, bits::packed_len(count, low))?;
        let (exceptions, decoder) = (exceptions.into_iter().peekable(), ans::Decoder::new(&shares, bytes));
        Ok(CodedGroups { low, base, exceptions, entries, lows, decoder, done: 0, count })
    }

    /// Before the first group: goes to the entry of this number.
    pub fn enter(&mut self, entry: usize) -> Result<(), Malformed> {
        self.resume(&self.entries[entry].clone(), (entry + 1) * ENTRY_RESIDUALS)
    }

    /// Before the first group: goes to where `done` residuals, a multiple of [`GROUP`], were unpacked or passed by.
    pub fn resume(&mut self, place: &ans::Entry, done: usize) -> Result<(), Malformed> {
        self.decoder.enter(place)?;
        self.done = done;
        take(&mut self.lows, bits::packed_len(done, self.low))?;
        while self.exceptions.next_if(|(at, _)| *at < done).is_some() {}
        Ok(())
    }

    /// Where the symbols of the next group begin.
    pub fn place(&self) -> ans::Entry {
        self.decoder.place()
    }

    /// Unpacks the next [`GROUP`] residuals, or as many as are left: `group` is as long.
    pub fn next(&mut self, group: &mut [i64]) -> Result<(), Malformed> {
        let (base, low, len) = (self.base, self.low, group.len());
        self.assert_whole_group(len);
        let residual = |symbol: u8| base.wrapping_add((u64::from(symbol) << low) as i64);
        self.decoder.fill(group, |symbols| symbols.map(residual));
        if low > 0 {
            let mut packed = [0; GROUP];
            bits::unpack(&mut self.lows, low, &mut packed[..len])?;
            for (slot, packed) in group.iter_mut().zip(packed) {
                *slot = slot.wrapping_add(packed as i64);
            }
        }
        while let Some((at, missing)) = self.exceptions.next_if(|(at, _)| *at < self.done + len) {
            group[at - self.done] = group[at - self.done].wrapping_add(missing);
        }
        self.done += len;
        Ok(())
    }

    /// As [`CodedGroups::next`], but to each is added `sum` and all residuals before it.
    pub fn next_sums(&mut self, mut sum: i64, group: &mut [i64]) -> Result<(), Malformed> {
        let end = self.done + group.len();
        if self.low == 0 && self.exceptions.peek().is_none_or(|(at, _)| *at >= end) {
            self.assert_whole_group(group.len());
            let bases = [1, 2, 3, 4].map(|count| self.base.wrapping_mul(count));
            self.decoder.fill(group, |symbols| {
                // One of four waits for the sum before it.
                let [a, b, c, d] = symbols;
                let [a, b, c, d] = [i64::from(a), i64::from(b), i64::from(c), i64::from(d)];
                let sums = [
                    sum.wrapping_add(bases[0].wrapping_add(a)),
                    sum.wrapping_add(bases[1].wrapping_add(a + b)),
                    sum.wrapping_add(bases[2].wrapping_add(a + b + c)),
                    sum.wrapping_add(bases[3].wrapping_add((a + b) + (c + d))),
                ];
                sum = sums[3];
                sums
            });
            self.done = end;
            return Ok(());
        }
        self.next(group)?;
        for slot in group {
            sum = sum.wrapping_add(*slot);
            *slot = sum;
        }
        Ok(())
    }

    /// Passes as many by; answers with their sum.
    pub fn pass(&mut self, len: usize) -> Result<i64, Malformed> {
        if self.low > 0 {
            let mut group = [0; GROUP];
            self.next(&mut group[..len])?;
            return Ok(group[..len].iter().fold(0, |sum, &residual| sum.wrapping_add(residual)));
        }
        self.assert_whole_group(len);
        let mut above = 0;
        self.decoder.fill(&mut [(); GROUP][..len], |symbols| {
            above += symbols.map(u32::from).iter().sum::<u32>();
            [(); LANES]
        });
        let mut sum = self.base.wrapping_mul(len as i64).wrapping_add(i64::from(above));
        self.done += len;
        while let Some((_, missing)) = self.exceptions.next_if(|(at, _)| *at < self.done) {
            sum = sum.wrapping_add(missing);
        }
        Ok(sum)
    }

    fn assert_whole_group(&self, len: usize) {
        assert_eq!(len, GROUP.min(self.count - self.done), "groups are whole but for the last one");
    }

    /// Behind the last group: the bytes that follow.
    pub fn finish(self) -> Result<&'a [u8], Malformed> {
        self.decoder.finish()
    }
}

/// Places among `count` residuals, and what is missing there.
fn take_exceptions(bytes: &mut &[u8], count: usize) -> Result<Vec<(usize, i64)>, Malformed> {
    let exception_count = take_count(bytes, count.min(bytes.len() / 2))?;
    let mut exceptions = Vec::with_capacity(exception_count);
    let mut next = 0u64;
    for _ in 0..exception_count {
        let at = next.checked_add(read_u64(bytes)?).filter(|&at| at < count as u64);
        let at = at.ok_or(Malformed("an exception lies outside its run"))?;
        exceptions.push((at as usize, read_i64(bytes)?));
        next = at + 1;
    }
    Ok(exceptions)
}

fn take_entries(bytes: &mut &[u8], count: usize) -> Result<Vec<ans::Entry>, Malformed> {
    let mut entries = Vec::with_capacity(count);
    let mut bit = 0usize;
    for _ in 0..count {
        let step = usize::try_from(read_u64(bytes)?).ok();
        bit = step.and_then(|step| bit.checked_add(step)).ok_or(Malformed("an entry lies too far away"))?;
        let states = take(bytes, LANES)?.try_into().expect("as many as are taken");
        entries.push(ans::Entry { bit, states });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All from the first one on, or from an entry on; and the bytes that follow.
    fn unpacked(
        bytes: &[u8],
        count: usize,
        entry_count: usize,
        entry: Option<usize>,
    ) -> Result<(Vec<i64>, &[u8]), Malformed> {
        let mut groups = CodedGroups::open(bytes, count, entry_count)?;
        entry.map_or(Ok(()), |entry| groups.enter(entry))?;
        let mut back = Vec::new();
        while groups.done < count {
            let mut group = [0; GROUP];
            let group = &mut group[..GROUP.min(count - groups.done)];
            groups.next(group)?;
            back.extend_from_slice(group);
        }
        Ok((back, groups.finish()?))
    }

    fn bytes_of(residuals: &[i64]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        Coded::of(residuals, |_| true)?.put(&mut bytes);
        bytes.extend_from_slice(b"rest");
        let entry_count = (residuals.len() - 1) / ENTRY_RESIDUALS;
        let (back, rest) = unpacked(&bytes, residuals.len(), entry_count, None).unwrap();
        assert_eq!(back, residuals);
        assert_eq!(rest, b"rest");
        for entry in 0..entry_count {
            let (back, rest) = unpacked(&bytes, residuals.len(), entry_count, Some(entry)).unwrap();
            assert_eq!(back, residuals[(entry + 1) * ENTRY_RESIDUALS..]);
            assert_eq!(rest, b"rest");
        }
        bytes.truncate(bytes.len() - 4);
        Some(bytes)
    }

    /// As [`bytes_of`], and every other group is passed by.
    fn passed(residuals: &[i64]) -> Option<()> {
        let bytes = bytes_of(residuals)?;
        let mut groups =
            CodedGroups::open(&bytes, residuals.len(), (residuals.len() - 1) / ENTRY_RESIDUALS).unwrap();
        for (number, group) in residuals.chunks(GROUP).enumerate() {
            let mut back = [0; GROUP];
            if number % 2 == 0 {
                let sum = group.iter().fold(0i64, |sum, &residual| sum.wrapping_add(residual));
                assert_eq!(groups.pass(group.len()).unwrap(), sum);
            } else {
                groups.next(&mut back[..group.len()]).unwrap();
                assert_eq!(&back[..group.len()], group);
            }
        }
        assert!(groups.finish().unwrap().is_empty());
        Some(())
    }

    #[test]
    fn what_comes_often_takes_a_fraction_of_a_bit() {
        let residuals: Vec<i64> = (0..2000).map(|i| i64::from(i % 50 == 0)).collect();
        assert!(bytes_of(&residuals).unwrap().len() < 2000 / 8 / 5);
    }

    #[test]
    fn what_is_far_from_all_others_costs_a_few_bytes() {
        let mut residuals: Vec<i64> = (0..500).map(|i| i * i % 11).collect();
        let plain = bytes_of(&residuals).unwrap().len();
        (residuals[3], residuals[300]) = (i64::MIN, 1 << 20);
        assert!(bytes_of(&residuals).unwrap().len() < plain + 24);
    }

    #[test]
    fn a_run_of_no_end_is_malformed() {
        let mut bytes = bytes_of(&[7; 100]).unwrap();
        bytes.extend([0; 100]);
        assert!(unpacked(&bytes, RESIDUALS_MAX + 1, 0, None).is_err());
        assert!(entry_count(RESIDUALS_MAX + 1).is_err());
    }

    proptest! {
        #[test]
        fn any_residuals_come_back(
            center: i64, low in 0u32..64,
            parts in prop::collection::vec(prop_oneof![20 => (-40i64..40, any::<u64>()), 1 => (any::<i64>(), any::<u64>())], 16..700),
        ) {
            let noise = |bits: u64| (bits & ((1 << low) - 1)) as i64;
            let residual = |&(high, bits): &(i64, u64)| center.wrapping_add(high << low).wrapping_add(noise(bits));
            passed(&parts.iter().map(residual).collect::<Vec<_>>());
        }

        #[test]
        fn changed_and_cut_bytes_never_panic(
            residuals in prop::collection::vec(-30i64..30, 16..300), at: prop::sample::Index, byte: u8, keep: prop::sample::Index, count in 0usize..400,
        ) {
            let mut bytes = bytes_of(&residuals).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let cut = keep.index(bytes.len());
            for bytes in [&bytes[..], &bytes[..cut]] {
                let _ = unpacked(bytes, count, 0, None);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(low in 0u8..60, bytes: Vec<u8>, count in 0usize..1000) {
            let _ = unpacked(&[&[low], &bytes[..]].concat(), count, 0, None);
        }

        #[test]
        fn long_runs_come_back_from_each_entry_on(seed: u64, len in 0usize..5000, low in 0u32..20, far in prop::collection::vec((any::<prop::sample::Index>(), any::<i64>()), 0..5)) {
            let noise = |i: usize| (seed ^ i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut residuals: Vec<i64> = (0..ENTRY_RESIDUALS + len).map(|i| (noise(i) >> (61 - low)) as i64).collect();
            for (at, value) in far {
                let at = at.index(residuals.len());
                residuals[at] = value;
            }
            bytes_of(&residuals);
        }

        #[test]
        fn changed_and_cut_entries_never_panic(at in 0usize..100, byte: u8, keep: prop::sample::Index) {
            let residuals: Vec<i64> = (0..2 * ENTRY_RESIDUALS as i64).map(|i| i * i % 7).collect();
            let mut bytes = bytes_of(&residuals).unwrap();
            bytes[at] = byte;
            let cut = keep.index(bytes.len());
            for bytes in [&bytes[..], &bytes[..cut]] {
                let _ = unpacked(bytes, residuals.len(), 1, Some(0));
            }
        }
    }
}
