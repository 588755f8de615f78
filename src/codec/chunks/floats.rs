//! The XOR chunk: times by the difference of their differences, values by what differs from the one before.

use super::{Chunk, DoubleColumn, Encoding, put_int_in};
use crate::codec::bits::BitWriter;
use crate::codec::varint;
use crate::model::Timestamp;

/// Bits of a difference of differences, in milliseconds.
pub(super) const TIME_WIDTHS: [u32; 3] = [14, 17, 20];

/// One chunk of up to 65,535 floats, at least one.
pub fn encode(timestamps: &[Timestamp], values: &[f64]) -> Chunk {
    let (&min_time, &max_time) =
        timestamps.first().zip(timestamps.last()).expect("a chunk has at least one sample");
    let count = u16::try_from(timestamps.len()).expect("a chunk has few samples");
    let mut bits = BitWriter::default();
    bits.write(count.into(), 16);
    put_varint(&mut bits, varint::zigzag(min_time));
    let mut column = DoubleColumn::begin(values[0], &mut bits);
    let (mut last, mut last_delta) = (min_time, 0);
    for (i, (&timestamp, &value)) in timestamps.iter().zip(values).enumerate().skip(1) {
        // Differences of extreme times wrap around, for the reader as well.
        let delta = timestamp.wrapping_sub(last);
        if i == 1 {
            put_varint(&mut bits, delta as u64);
        } else {
            put_int_in(&mut bits, delta.wrapping_sub(last_delta), &TIME_WIDTHS);
        }
        column.push(value, &mut bits);
        (last, last_delta) = (timestamp, delta);
    }
    Chunk { min_time, max_time, encoding: Encoding::Xor, data: bits.finish() }
}

fn put_varint(bits: &mut BitWriter, value: u64) {
    let mut bytes = Vec::with_capacity(varint::LEN_MAX);
    varint::write_u64(&mut bytes, value);
    bytes.iter().for_each(|&byte| bits.write(byte.into(), 8));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::chunks::reader::testing as reader;
    use crate::model::metrics::STALE_NAN;

    fn bits(samples: &[(Timestamp, f64)]) -> Vec<(Timestamp, u64)> {
        samples.iter().map(|(timestamp, value)| (*timestamp, value.to_bits())).collect()
    }

    fn assert_comes_back(timestamps: &[Timestamp], values: &[f64]) {
        let chunk = encode(timestamps, values);
        let sent: Vec<_> = timestamps.iter().copied().zip(values.iter().copied()).collect();
        assert_eq!(bits(&reader::floats(&chunk.data)), bits(&sent));
        assert_eq!((chunk.min_time, chunk.max_time), (timestamps[0], timestamps[timestamps.len() - 1]));
    }

    #[test]
    fn a_regular_series_takes_two_bits_a_sample() {
        let timestamps: Vec<_> = (0..120).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        let chunk = encode(&timestamps, &[7.0; 120]);
        // Count, first time and value, first difference; then a bit for the time and one for the value.
        assert_eq!(chunk.data.len(), 2 + 6 + 8 + 2 + (1 + 118 * 2usize).div_ceil(8));
        assert_comes_back(&timestamps, &[7.0; 120]);
    }

    #[test]
    fn differences_at_the_edges_of_their_widths_come_back() {
        let edges =
            [0, 1, -1, 8_192, 8_193, -8_191, -8_192, 65_536, 65_537, -65_535, -65_536, 524_288, 524_289];
        let (mut timestamps, mut delta) = (vec![0], 1_000_000);
        for edge in edges.iter().flat_map(|edge| [*edge, -edge]) {
            delta += edge;
            timestamps.push(timestamps[timestamps.len() - 1] + delta);
        }
        let values: Vec<f64> = (0..timestamps.len()).map(|i| i as f64 / 3.0).collect();
        assert_comes_back(&timestamps, &values);
    }

    #[test]
    fn stale_markers_payloads_and_extreme_times_keep_their_bits() {
        let timestamps = [i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
        let odd = [STALE_NAN, 0x7ff8_0000_0000_0001, 1 << 63, u64::MAX, 1].map(f64::from_bits);
        assert_comes_back(&timestamps, &odd);
        assert_comes_back(&[i64::MAX], &[f64::NAN]);
    }

    proptest! {
        #[test]
        fn floats_come_back(samples in prop::collection::btree_map(any::<i64>(), any::<u64>(), 1..300)) {
            let timestamps: Vec<_> = samples.keys().copied().collect();
            let values: Vec<_> = samples.values().map(|bits| f64::from_bits(*bits)).collect();
            assert_comes_back(&timestamps, &values);
        }

        #[test]
        fn floats_like_those_of_a_scrape_come_back(steps in prop::collection::vec((1i64..70_000, -9i32..9), 1..300)) {
            let mut last = (1_700_000_000_000, 100.0);
            let samples: Vec<_> = steps.iter().map(|(step, change)| {
                last = (last.0 + step, last.1 + f64::from(*change));
                last
            }).collect();
            let (timestamps, values): (Vec<_>, Vec<_>) = samples.into_iter().unzip();
            assert_comes_back(&timestamps, &values);
        }
    }
}
