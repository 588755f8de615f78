//! Runs of residuals by how often each comes: low bits as they are, the rest as symbols of [`ans`](super::ans), and a few
//! exceptions that are far from all others.

use super::ans::{self, Shares};
use super::bits::{self, GROUP};
use super::varint::{read_i64, read_u64, write_i64, write_u64};
use super::{Malformed, take, take_count, take_u8};

/// A symbol has eight bits; more low bits would push it out of 64.
const LOW_MAX: u32 = 56;

/// A run may take next to no bytes, so its bytes do not bound what it unpacks to; this does.
const RESIDUALS_MAX: usize = 1 << 16;

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
    /// About what all of it takes.
    pub cost_bits: usize,
}

impl Coded {
    /// `None` where this cannot pay: few residuals, or too many that are far from the others.
    pub fn of(residuals: &[i64]) -> Option<Coded> {
        if !(16..=RESIDUALS_MAX).contains(&residuals.len()) {
            return None;
        }
        let log = ans::log_for(residuals.len());
        let symbols_max = 1usize << (log - 2);
        let (low, base) = choose_window(residuals, symbols_max)?;
        let mut counts = vec![0u32; symbols_max];
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
        let shares = Shares::of_counts(&counts, log);
        let cost_bits = shares.cost_bits(&counts)
            + residuals.len() * low as usize
            + exceptions.len() * EXCEPTION_BITS
            + 16
            + super::integers::varint_bits(base);
        Some(Coded { low, base, shares, symbols, lows, exceptions, cost_bits })
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
        bits::pack(&self.lows, self.low, out);
        ans::encode(&self.shares, &self.symbols, out);
    }
}

/// How many low bits go as they are, and what the first symbol stands for: so that the bulk of a sample of the residuals takes
/// about a quarter of the symbols there may be.
fn choose_window(residuals: &[i64], symbols_max: usize) -> Option<(u32, i64)> {
    const SAMPLE: usize = 64;
    let mut sample: Vec<i64> = residuals.iter().step_by(residuals.len().div_ceil(SAMPLE)).copied().collect();
    sample.sort_unstable();
    let cut = sample.len() / 24;
    let (from, to) = (sample[cut], sample[sample.len() - 1 - cut]);
    let spread = to.wrapping_sub(from) as u64;
    let len = u64::BITS - spread.leading_zeros();
    let low = len.saturating_sub(symbols_max.ilog2() - 1);
    if low > LOW_MAX {
        return None;
    }
    let room = (symbols_max as u64) << low;
    // The bulk in the middle, but nothing wasted below the least.
    let base = from.wrapping_sub(((room - spread) / 2) as i64);
    let min = residuals.iter().copied().min()?;
    Some((low, if min.wrapping_sub(base) as u64 <= room && min > base { min } else { base }))
}

/// Takes `count` residuals off the front and hands them over in groups.
pub fn for_each_group(
    bytes: &mut &[u8],
    count: usize,
    mut each: impl FnMut(&mut [i64]),
) -> Result<(), Malformed> {
    if count > RESIDUALS_MAX {
        return Err(Malformed("a run of residuals is too long"));
    }
    let low = u32::from(take_u8(bytes)?);
    if low > LOW_MAX {
        return Err(Malformed("there are too many low bits"));
    }
    let base = read_i64(bytes)?;
    let shares = Shares::take(bytes)?;
    let exception_count = take_count(bytes, count.min(bytes.len() / 2))?;
    let mut exceptions = Vec::with_capacity(exception_count);
    let mut next = 0u64;
    for _ in 0..exception_count {
        let at = next.checked_add(read_u64(bytes)?).filter(|&at| at < count as u64);
        let at = at.ok_or(Malformed("an exception lies outside its run"))?;
        exceptions.push((at as usize, read_i64(bytes)?));
        next = at + 1;
    }
    let mut exceptions = exceptions.into_iter().peekable();
    let mut lows = take(bytes, bits::packed_len(count, low))?;
    let mut decoder = ans::Decoder::new(&shares, bytes);
    let (mut symbols, mut packed, mut group) = ([0u8; GROUP], [0; GROUP], [0; GROUP]);
    let mut done = 0;
    while done < count {
        let len = (count - done).min(GROUP);
        decoder.fill(&mut symbols[..len]);
        let group = &mut group[..len];
        if low == 0 {
            for (slot, &symbol) in group.iter_mut().zip(&symbols) {
                *slot = base.wrapping_add(i64::from(symbol));
            }
        } else {
            bits::unpack(&mut lows, low, &mut packed[..len])?;
            for ((slot, &symbol), &packed) in group.iter_mut().zip(&symbols).zip(&packed) {
                *slot = base.wrapping_add((u64::from(symbol) << low | packed) as i64);
            }
        }
        while let Some((at, missing)) = exceptions.next_if(|(at, _)| *at < done + len) {
            group[at - done] = group[at - done].wrapping_add(missing);
        }
        each(group);
        done += len;
    }
    *bytes = decoder.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(residuals: &[i64]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        Coded::of(residuals)?.put(&mut bytes);
        bytes.extend_from_slice(b"rest");
        let (mut slice, mut back) = (&bytes[..], Vec::new());
        for_each_group(&mut slice, residuals.len(), |group| back.extend_from_slice(group)).unwrap();
        assert_eq!(back, residuals);
        assert_eq!(slice, b"rest");
        bytes.truncate(bytes.len() - 4);
        Some(bytes)
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
        assert!(for_each_group(&mut &bytes[..], RESIDUALS_MAX + 1, |_| {}).is_err());
    }

    proptest! {
        #[test]
        fn any_residuals_come_back(
            center: i64, low in 0u32..64,
            parts in prop::collection::vec(prop_oneof![20 => (-40i64..40, any::<u64>()), 1 => (any::<i64>(), any::<u64>())], 16..700),
        ) {
            let noise = |bits: u64| (bits & ((1 << low) - 1)) as i64;
            let residual = |&(high, bits): &(i64, u64)| center.wrapping_add(high << low).wrapping_add(noise(bits));
            bytes_of(&parts.iter().map(residual).collect::<Vec<_>>());
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
                let _ = for_each_group(&mut &bytes[..], count, |_| {});
            }
        }

        #[test]
        fn foreign_bytes_never_panic(low in 0u8..60, bytes: Vec<u8>, count in 0usize..1000) {
            let _ = for_each_group(&mut &[&[low], &bytes[..]].concat()[..], count, |_| {});
        }
    }
}
