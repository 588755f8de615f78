//! Symbols, each in the fewer bits the more often it comes, fractions of a bit among them: asymmetric numeral systems
//! in tables (tANS). How often each comes is told in 2^`log` shares.
//!
//! A state stands for a symbol, and says how many bits lead to the next state. Four states take turns, so that the
//! processor need not wait for one look-up before it starts the next.

use std::sync::LazyLock;

use super::bits::{BitReader, BitWriter};
use super::{Malformed, take_u8};

const LOG_MIN: u32 = 5;
/// Finer shares saved nothing on real series, and a state is a byte.
pub const LOG_MAX: u32 = 8;
const SIZE_MAX: usize = 1 << LOG_MAX;
pub const LANES: usize = 4;

/// How often each symbol comes. Invariant: the shares add up to 2^`log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    log: u32,
    of: Vec<u16>,
}

/// Shares are told the finer, the more symbols pay for them.
pub fn log_for(symbol_count: usize) -> u32 {
    let len = usize::BITS - symbol_count.leading_zeros();
    (3 + len / 2).clamp(LOG_MIN, LOG_MAX)
}

impl Shares {
    /// Shares in proportion to `counts`, at least one for what comes at all; at most half of 2^`log` symbols come, and one
    /// does.
    pub fn of_counts(counts: &[u32], log: u32) -> Shares {
        let total: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let share = |count: u32| match count {
            0 => 0,
            _ => (((u64::from(count) << log) + total / 2) / total).max(1) as u16,
        };
        let mut of: Vec<u16> = counts.iter().map(|&count| share(count)).collect();
        let mut left = (1 << log) - of.iter().map(|&share| i32::from(share)).sum::<i32>();
        while left != 0 {
            let largest = of.iter_mut().max().expect("a symbol comes");
            *largest = if left > 0 { *largest + 1 } else { *largest - 1 };
            left -= left.signum();
        }
        while of.last() == Some(&0) {
            of.pop();
        }
        Shares { log, of }
    }

    /// About how many bits symbols that come so often take, with the shares.
    pub fn cost_bits(&self, counts: &[u32]) -> usize {
        let logarithms = &*LOGARITHMS;
        let bits_of = |share: u16| f64::from(self.log) - logarithms[usize::from(share)];
        let each = self.of.iter().zip(counts).filter(|(share, _)| **share > 0);
        let bits: f64 = each.map(|(&share, &count)| f64::from(count) * bits_of(share)).sum();
        let shares: u32 = self.of.iter().map(|&share| share_bits(share, self.log)).sum();
        bits as usize + shares as usize + Shares::least_cost_bits(self.log)
    }

    /// What they take beside symbols and shares, whatever these are.
    pub fn least_cost_bits(log: u32) -> usize {
        16 + LANES * log as usize
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.log as u8);
        out.push((self.of.len() - 1) as u8);
        let (mut bits, low) = (BitWriter::default(), low_bits(self.log));
        for &share in &self.of {
            let high = (u64::from(share) >> low) + 1;
            let len = high.ilog2();
            bits.write(0, len);
            bits.write(high, len + 1);
            bits.write(u64::from(share) & ((1 << low) - 1), low);
        }
        out.append(&mut bits.finish());
    }

    pub fn take(bytes: &mut &[u8]) -> Result<Shares, Malformed> {
        let log = u32::from(take_u8(bytes)?);
        if !(LOG_MIN..=LOG_MAX).contains(&log) {
            return Err(Malformed("shares are too fine or too coarse"));
        }
        let symbol_count = usize::from(take_u8(bytes)?) + 1;
        let (mut bits, low) = (BitReader::new(bytes), low_bits(log));
        let (mut of, mut left) = (Vec::with_capacity(symbol_count), 1u64 << log);
        for _ in 0..symbol_count {
            let mut len = 0;
            while bits.read(1)? == 0 {
                len += 1;
                if len > LOG_MAX {
                    return Err(Malformed("a share exceeds what there is"));
                }
            }
            let high = (1 << len | bits.read(len)?) - 1;
            let share = high << low | bits.read(low)?;
            left = left.checked_sub(share).ok_or(Malformed("a share exceeds what there is"))?;
            of.push(share as u16);
        }
        if left > 0 {
            return Err(Malformed("shares do not add up"));
        }
        *bytes = bits.rest();
        Ok(Shares { log, of })
    }

    /// The symbol of each state: as many states as shares, strewn so that states of a symbol are far apart.
    fn strewn(&self) -> impl Iterator<Item = u8> {
        let (size, stride) = (1usize << self.log, STRIDES[(self.log - LOG_MIN) as usize]);
        let row = self.in_a_row();
        (0..size).map(move |state| row[(state * stride % SIZE_MAX) & (size - 1)])
    }

    /// Each symbol as often as it has shares.
    fn in_a_row(&self) -> [u8; SIZE_MAX + AT_ONCE] {
        let (mut row, mut end) = ([0; SIZE_MAX + AT_ONCE], 0);
        for (symbol, &share) in self.of.iter().enumerate() {
            let mut at = end;
            end += usize::from(share);
            // Few have more. What is written too much the next one takes.
            loop {
                row[at..at + AT_ONCE].fill(symbol as u8);
                at += AT_ONCE;
                if at >= end {
                    break;
                }
            }
        }
        row
    }
}

/// How many bytes one store takes.
const AT_ONCE: usize = 8;

/// How far apart in their row the symbols of neighbouring states stand, for shares of each fineness. Those of one symbol, which are neighbours in
/// the row, have states that are size / 2 + size / 8 + 3 apart: so many times this is 1, modulo the size.
static STRIDES: [usize; (LOG_MAX - LOG_MIN + 1) as usize] = {
    let mut strides = [0; (LOG_MAX - LOG_MIN + 1) as usize];
    let mut log = LOG_MIN;
    while log <= LOG_MAX {
        let size = 1usize << log;
        let (apart, mut stride) = (size / 2 + size / 8 + 3, 1);
        while apart * stride % size != 1 {
            stride += 2;
        }
        strides[(log - LOG_MIN) as usize] = stride;
        log += 1;
    }
    strides
};

/// To the base of two, by share: to reckon them takes longer than to count symbols.
static LOGARITHMS: LazyLock<[f64; SIZE_MAX + 1]> =
    LazyLock::new(|| std::array::from_fn(|share| (share as f64).log2()));

/// Low bits of a share that are written as they are.
fn low_bits(log: u32) -> u32 {
    (log - LOG_MIN) / 2
}

fn share_bits(share: u16, log: u32) -> u32 {
    let low = low_bits(log);
    2 * ((u32::from(share) >> low) + 1).ilog2() + 1 + low
}

/// Where symbols can be taken without those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bits before it.
    pub bit: usize,
    pub states: [u8; LANES],
}

/// Appends `symbols`, which all have a share. Answers with entries: one before each symbol but the first whose place is a
/// multiple of `entry_every`, itself one of four.
pub fn encode(shares: &Shares, symbols: &[u8], entry_every: usize, out: &mut Vec<u8>) -> Vec<Entry> {
    assert!(entry_every.is_multiple_of(LANES), "all lanes begin at an entry");
    let (log, size) = (shares.log, 1usize << shares.log);
    // For each symbol, its states in order; `starts` says where they begin, less the share.
    let mut starts = [0i32; 256];
    let mut next = [0u16; 256];
    let mut sum = 0;
    for (symbol, &share) in shares.of.iter().enumerate() {
        starts[symbol] = sum - i32::from(share);
        next[symbol] = share;
        sum += i32::from(share);
    }
    let mut states = [0u16; SIZE_MAX];
    for (state, symbol) in shares.strewn().enumerate() {
        let symbol = usize::from(symbol);
        states[(starts[symbol] + i32::from(next[symbol])) as usize] = state as u16;
        next[symbol] += 1;
    }
    // From the last symbol to the first, as each state is reached from the one after it.
    let mut lanes = [size as u32; LANES];
    let mut steps: Vec<(u16, u8)> = Vec::with_capacity(symbols.len() + LANES);
    let (mut entries, mut bit_count) = (Vec::new(), 0);
    for (at, &symbol) in symbols.iter().enumerate().rev() {
        let state = &mut lanes[at % LANES];
        let share = u32::from(shares.of[usize::from(symbol)]);
        let most = log - share.ilog2();
        let len = if *state >= share << most { most } else { most - 1 };
        steps.push(((*state & ((1 << len) - 1)) as u16, len as u8));
        let place = starts[usize::from(symbol)] + (*state >> len) as i32;
        *state = size as u32 + u32::from(states[place as usize]);
        bit_count += len as usize;
        if at > 0 && at.is_multiple_of(entry_every) {
            entries.push(Entry { bit: bit_count, states: lanes.map(|state| (state - size as u32) as u8) });
        }
    }
    steps.extend(lanes.iter().rev().map(|state| ((state - size as u32) as u16, log as u8)));
    write_steps(&steps, out);
    // They were counted from the end.
    bit_count += LANES * log as usize;
    entries.iter_mut().for_each(|entry| entry.bit = bit_count - entry.bit);
    entries.reverse();
    entries
}

/// Appends the bits of the steps, the last one first.
fn write_steps(steps: &[(u16, u8)], out: &mut Vec<u8>) {
    let (mut pending, mut filled) = (0u64, 0u32);
    for &(bits, len) in steps.iter().rev() {
        pending |= u64::from(bits) << filled;
        filled += u32::from(len);
        if filled >= 32 {
            out.extend_from_slice(&(pending as u32).to_le_bytes());
            pending >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&pending.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// A state in four bytes, from the low one on: how many bits follow, the next state if those are all zero, the symbol it stands
/// for, and a mask of so many bits. One load tells all, and the sum of some states, in its low byte, how many bits follow them.
#[derive(Clone, Copy, Default)]
struct State(u32);

impl State {
    /// Of no symbol yet.
    const fn new(next: u8, bits: u32) -> State {
        State(bits | (next as u32) << 8 | ((1 << bits) - 1) << 24)
    }

    fn of_symbol(self, symbol: u8) -> State {
        State(self.0 | u32::from(symbol) << 16)
    }

    #[inline]
    fn symbol(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The number of the next state, below 2^`log`. So many of its low bits are zero as follow: nothing is carried, and the
    /// compiler sees that it is in the table.
    fn next(self, bits: u64) -> usize {
        ((self.0 >> 8 & 0xff) | (bits as u32 & self.0 >> 24)) as usize
    }

    /// As if it were one state that this one and another lead through. Four take 32 bits at most, so the low byte does not overflow.
    fn and(self, other: State) -> State {
        State(self.0.wrapping_add(other.0))
    }

    fn bits(self) -> u32 {
        self.0 & 63
    }
}

/// What follows the states of a symbol that has so many shares, from as many up to twice of it: for shares of each fineness. To
/// look it up takes a third of the time that it takes to reckon it.
static STEPS: [[State; 2 * SIZE_MAX]; (LOG_MAX - LOG_MIN + 1) as usize] = {
    let mut steps = [[State(0); 2 * SIZE_MAX]; (LOG_MAX - LOG_MIN + 1) as usize];
    let mut log = LOG_MIN;
    while log <= LOG_MAX {
        let mut reached = 1;
        while reached < 2 << log {
            let bits = log - u32::ilog2(reached);
            let next = (reached << bits) - (1 << log);
            steps[(log - LOG_MIN) as usize][reached as usize] = State::new(next as u8, bits);
            reached += 1;
        }
        log += 1;
    }
    steps
};

/// Takes symbols off the front of bytes.
pub struct Decoder<'a> {
    table: [State; SIZE_MAX],
    lanes: [u8; LANES],
    bytes: &'a [u8],
    /// How many bits have been read. May be more than there are; [`Decoder::finish`] tells.
    read: usize,
}

impl<'a> Decoder<'a> {
    pub fn new(shares: &Shares, bytes: &'a [u8]) -> Decoder<'a> {
        let (log, size) = (shares.log, 1usize << shares.log);
        let mut table = [State::default(); SIZE_MAX];
        let mut next = [0u16; 256];
        next[..shares.of.len()].copy_from_slice(&shares.of);
        let steps = &STEPS[(log - LOG_MIN) as usize];
        for (state, symbol) in table.iter_mut().zip(shares.strewn()) {
            let reached = &mut next[usize::from(symbol)];
            *state = steps[usize::from(*reached) % steps.len()].of_symbol(symbol);
            *reached += 1;
        }
        let first = load(window(bytes, 0, &mut [0; WINDOW_LEN]), 0);
        let lanes = [0, 1, 2, 3].map(|lane| (first >> (lane * log)) as u8 & (size - 1) as u8);
        Decoder { table, lanes, bytes, read: LANES * log as usize }
    }

    /// Goes to an entry.
    pub fn enter(&mut self, entry: &Entry) -> Result<(), Malformed> {
        if entry.bit > self.bytes.len() * 8 {
            return Err(Malformed("an entry lies behind the symbols"));
        }
        // States that the shares do not have stand for the first symbol for ever.
        (self.lanes, self.read) = (entry.states, entry.bit);
        Ok(())
    }

    /// Where the next symbols can be taken without those before them.
    pub fn place(&self) -> Entry {
        Entry { bit: self.read, states: self.lanes }
    }

    /// Fills in what is made of the next symbols, [`FILL_MAX`] at most: a multiple of four of them, except at the end, where zeros
    /// make up what lacks of four. To make something of them while the next ones are found takes hardly any time.
    #[inline]
    pub fn fill<T>(&mut self, to: &mut [T], mut make: impl FnMut([u8; LANES]) -> [T; LANES]) {
        assert!(to.len() <= FILL_MAX, "{} symbols", to.len());
        let (table, mut lanes) = (&self.table, self.lanes.map(usize::from));
        let mut padded = [0; WINDOW_LEN];
        let window = window(self.bytes, self.read / 8, &mut padded);
        let mut read = self.read % 8;
        let (quads, rest) = to.as_chunks_mut::<LANES>();
        for quad in quads {
            let bits = load(window, read);
            let states = lanes.map(|lane| table[lane & (SIZE_MAX - 1)]);
            let first_two = states[0].and(states[1]);
            let first_three = first_two.and(states[2]);
            // Each lane shifts the bits by itself: were they shifted from lane to lane, each would wait for the one before it.
            let followed_by =
                [bits, bits >> states[0].bits(), bits >> first_two.bits(), bits >> first_three.bits()];
            for (at, state) in states.into_iter().enumerate() {
                lanes[at] = state.next(followed_by[at]);
            }
            read += first_three.and(states[3]).bits() as usize;
            let [a, b, c, d] = states;
            *quad = make([a.symbol(), b.symbol(), c.symbol(), d.symbol()]);
        }
        if !rest.is_empty() {
            let (mut bits, mut symbols) = (load(window, read), [0; LANES]);
            for (symbol, lane) in symbols[..rest.len()].iter_mut().zip(&mut lanes) {
                let state = table[*lane & (SIZE_MAX - 1)];
                (*symbol, *lane) = (state.symbol(), state.next(bits));
                bits >>= state.bits();
                read += state.bits() as usize;
            }
            rest.iter_mut().zip(make(symbols)).for_each(|(slot, made)| *slot = made);
        }
        (self.lanes, self.read) = (lanes.map(|lane| lane as u8), self.read / 8 * 8 + read);
    }

    /// What follows the symbols.
    pub fn finish(self) -> Result<&'a [u8], Malformed> {
        self.bytes.get(self.read.div_ceil(8)..).ok_or(Malformed("ends inside a symbol"))
    }
}

/// How many symbols may be taken at once.
pub const FILL_MAX: usize = 128;

/// The bytes that so many symbols may take, and eight more: a load at any bit of them needs no look at where they end.
const WINDOW_LEN: usize = FILL_MAX + 8;

/// The bytes from `at` on; zeros behind the end.
fn window<'w>(bytes: &'w [u8], at: usize, padded: &'w mut [u8; WINDOW_LEN]) -> &'w [u8; WINDOW_LEN] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().unwrap_or_else(|| {
        padded[..rest.len()].copy_from_slice(rest);
        padded
    })
}

/// The bits from `bit` on, 57 or more. What lies behind [`FILL_MAX`] bytes is not asked for.
#[inline]
fn load(window: &[u8; WINDOW_LEN], bit: usize) -> u64 {
    let byte = bit / 8 % FILL_MAX;
    u64::from_le_bytes(window[byte..byte + 8].try_into().expect("eight bytes")) >> (bit % 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: usize = 128;

    fn counts_of(symbols: &[u8]) -> Vec<u32> {
        let mut counts = vec![0; 256];
        symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
        counts
    }

    fn decode(bytes: &mut &[u8], count: usize) -> Result<Vec<u8>, Malformed> {
        let shares = Shares::take(bytes)?;
        let mut decoder = Decoder::new(&shares, bytes);
        let symbols = filled(&mut decoder, count);
        *bytes = decoder.finish()?;
        Ok(symbols)
    }

    fn filled(decoder: &mut Decoder<'_>, count: usize) -> Vec<u8> {
        let mut symbols = vec![0; count];
        symbols.chunks_mut(FILL_MAX).for_each(|group| decoder.fill(group, |symbols| symbols));
        symbols
    }

    #[test]
    fn what_is_estimated_is_what_it_takes() {
        let symbols: Vec<u8> = (0..2000u32).map(|i| (i * i % 64).leading_zeros() as u8 - 26).collect();
        let counts = counts_of(&symbols);
        let shares = Shares::of_counts(&counts, 8);
        let mut bytes = Vec::new();
        shares.put(&mut bytes);
        encode(&shares, &symbols, EVERY, &mut bytes);
        let estimate = shares.cost_bits(&counts) / 8;
        assert!(bytes.len().abs_diff(estimate) <= 2 + estimate / 50, "{} for {estimate}", bytes.len());
    }

    #[test]
    fn shares_that_do_not_add_up_are_malformed() {
        let of = |of: &[u16]| {
            let mut bytes = Vec::new();
            Shares { log: 5, of: of.to_vec() }.put(&mut bytes);
            bytes.extend([0; 16]);
            Shares::take(&mut &bytes[..]).is_ok()
        };
        assert!(of(&[30, 2]) && of(&[32]) && of(&[0, 32]));
        assert!(!of(&[30, 3]) && !of(&[30, 1]) && !of(&[0]));
    }

    proptest! {
        #[test]
        fn any_symbols_come_back(
            symbols in prop::collection::vec(prop_oneof![3 => 0u8..3, 2 => 0u8..16], 1..600), log in LOG_MIN..=LOG_MAX,
        ) {
            let shares = Shares::of_counts(&counts_of(&symbols), log);
            let mut bytes = Vec::new();
            shares.put(&mut bytes);
            encode(&shares, &symbols, EVERY, &mut bytes);
            bytes.extend_from_slice(b"rest");
            let mut slice = &bytes[..];
            prop_assert_eq!(decode(&mut slice, symbols.len()).unwrap(), symbols);
            prop_assert_eq!(slice, b"rest");
        }

        #[test]
        fn what_follows_an_entry_comes_without_what_is_before_it(symbols in prop::collection::vec(0u8..16, 1..600)) {
            let shares = Shares::of_counts(&counts_of(&symbols), 7);
            let mut bytes = Vec::new();
            let entries = encode(&shares, &symbols, EVERY, &mut bytes);
            prop_assert_eq!(entries.len(), (symbols.len() - 1) / EVERY);
            for (entry, symbols) in entries.iter().zip(symbols.chunks(EVERY).skip(1)) {
                let mut decoder = Decoder::new(&shares, &bytes);
                decoder.enter(entry).unwrap();
                prop_assert_eq!(filled(&mut decoder, symbols.len()), symbols);
            }
        }

        #[test]
        fn cut_bytes_are_malformed(symbols in prop::collection::vec(0u8..16, 100..200)) {
            let shares = Shares::of_counts(&counts_of(&symbols), 7);
            let mut bytes = Vec::new();
            shares.put(&mut bytes);
            encode(&shares, &symbols, EVERY, &mut bytes);
            for len in 0..bytes.len() {
                prop_assert!(decode(&mut &bytes[..len], symbols.len()).is_err());
            }
        }

        #[test]
        fn foreign_bytes_never_panic(log in 4u8..10, bytes: Vec<u8>, count in 0usize..1000, bit: usize, states: [u8; LANES]) {
            let _ = decode(&mut &[&[log], &bytes[..]].concat()[..], count);
            let shares = Shares::of_counts(&[3, 1], LOG_MIN);
            let mut decoder = Decoder::new(&shares, &bytes);
            for bit in [bit, bit % (bytes.len() * 8 + 1)] {
                if decoder.enter(&Entry { bit, states }).is_ok() {
                    filled(&mut decoder, count);
                }
            }
            let _ = decoder.finish();
        }
    }
}
