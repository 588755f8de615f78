//! What a sample costs in nanoseconds and bytes, as sealed and as a final day keeps it: `cargo bench --bench codec`.

use std::hint::black_box;
use std::time::Instant;

use icecore::codec::{Effort, floats, timestamps};

/// A small generator of its own, so that figures of different days compare (PCG, 32 bits out).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (((self.0 >> 18) ^ self.0) >> 27) as u32;
        mixed.rotate_right((self.0 >> 59) as u32)
    }

    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        f64::from(self.next()) / f64::from(u32::MAX)
    }

    /// About normal, with deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Makes that many values.
type Generator = fn(&mut Random, usize) -> Vec<f64>;

/// Kinds of series as servers send them.
fn kinds() -> Vec<(&'static str, Generator)> {
    vec![
        ("constant", |_, n| vec![1_073_741_824.0; n]),
        ("counter, steady", |r, n| walk(n, 1e6, |_| 150.0 + (r.normal() * 8.0).round())),
        ("counter, bursts", |r, n| {
            walk(n, 0.0, |_| if r.next().is_multiple_of(10) { (r.uniform() * 900.0).round() } else { 0.0 })
        }),
        ("counter, seconds", |r, n| {
            walk(n, 5e6, |_| (1400.0 + r.normal() * 30.0).round()).into_iter().map(|v| v / 100.0).collect()
        }),
        ("gauge, 0 to 100", |r, n| {
            let mut state = 50.0;
            let mut step = |_| {
                state = f64::clamp(state + r.normal(), 0.0, 100.0);
                state.trunc()
            };
            (0..n).map(&mut step).collect()
        }),
        ("gauge, pages", |r, n| walk(n, 8e9, |_| (r.normal() * 40.0).round() * 4096.0)),
        ("gauge, 3 decimals", |r, n| (0..n).map(|_| ((40.0 + r.normal()) * 1e3).round() / 1e3).collect()),
        ("sum of seconds", |r, n| walk(n, 0.1, |_| (r.uniform() * 1e5).round() * 1e-9)),
        ("gauge, all digits", |r, n| walk(n, 0.5, |_| r.normal() / 1e3)),
    ]
}

fn walk(n: usize, start: f64, mut step: impl FnMut(usize) -> f64) -> Vec<f64> {
    let mut value = start;
    let mut next = |i| {
        value += step(i);
        value
    };
    (0..n).map(&mut next).collect()
}

/// The least nanoseconds a sample of five runs over all blocks.
fn nanoseconds(samples: usize, mut run: impl FnMut()) -> f64 {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64 / samples as f64
    };
    (0..5).map(|_| time(&mut run)).fold(f64::INFINITY, f64::min)
}

fn measure<T: Default>(
    name: &str,
    blocks: &[Vec<T>],
    encode: fn(&[T], &mut Vec<u8>),
    decode: impl Fn(&[u8], usize, &mut Vec<T>),
) {
    let samples: usize = blocks.iter().map(Vec::len).sum();
    let mut encoded = vec![Vec::new(); blocks.len()];
    let encode_ns = nanoseconds(samples, || {
        for (values, bytes) in blocks.iter().zip(&mut encoded) {
            bytes.clear();
            encode(values, bytes);
        }
    });
    let mut values = Vec::new();
    let decode_ns = nanoseconds(samples, || {
        for (block, bytes) in blocks.iter().zip(&encoded) {
            values.clear();
            decode(bytes, block.len(), &mut values);
            black_box(&values);
        }
    });
    let per_sample = encoded.iter().map(Vec::len).sum::<usize>() as f64 / samples as f64;
    let block_len = blocks[0].len();
    println!("{name:<20} {block_len:>6} {per_sample:>9.3} {encode_ns:>10.1} {decode_ns:>10.2}");
}

fn main() {
    const SAMPLES: usize = 1 << 18;
    println!("{:<20} {:>6} {:>9} {:>10} {:>10}", "series", "block", "B/sample", "encode ns", "decode ns");
    for block_len in [90, 720, 8192] {
        let block_count = SAMPLES / block_len;
        let mut random = Random(7);
        let mut jittered = |jitter: f64| -> Vec<Vec<i64>> {
            let time = |r: &mut Random, i: usize| i as i64 * 15_000 + (r.normal() * jitter).round() as i64;
            (0..block_count).map(|_| (0..block_len).map(|i| time(&mut random, i)).collect()).collect()
        };
        for (name, jitter) in [("times, regular", 0.0), ("times, jitter 3 ms", 3.0)] {
            let decode = |bytes: &[u8], count, out: &mut Vec<i64>| {
                timestamps::decode(bytes, count, out).expect("just encoded")
            };
            measure(name, &jittered(jitter), timestamps::encode, decode);
        }
        for (name, generate) in kinds() {
            let blocks: Vec<Vec<f64>> = (0..block_count).map(|_| generate(&mut random, block_len)).collect();
            let decode = |bytes: &[u8], count, out: &mut Vec<f64>| {
                floats::decode(bytes, count, out).expect("just encoded")
            };
            measure(name, &blocks, floats::encode, decode);
            let encode = |values: &[f64], out: &mut Vec<u8>| floats::encode_with(values, Effort::Best, out);
            measure("  as final", &blocks, encode, decode);
        }
    }
}
