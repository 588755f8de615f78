//! The walk against prost, which reads the same bytes its own way.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::ingest::protobuf::zigzag;
use crate::model::Histogram;
use crate::model::histogram::{ResetHint, Span};
use crate::wire::{remote_write_v1 as wire1, remote_write_v2 as wire2};

/// What the walk found, or should have.
#[derive(Debug, PartialEq)]
struct Seen {
    labels: Vec<(Vec<u8>, Vec<u8>)>,
    /// Time, bits of the value, start.
    samples: Vec<(i64, u64, i64)>,
    histograms: Vec<String>,
    exemplars: usize,
    created: i64,
}

fn walk_v1(body: &[u8]) -> Result<Vec<Seen>, WireError> {
    let mut seen = Vec::new();
    v1::walk(body, |item| {
        let v1::Item::Series(labels, points) = item else { return Ok(()) };
        let options = Options { labels_max: usize::MAX, ..Options::default() };
        let labels = v1::labels_of(Message::new(labels), &options)?.unwrap();
        seen.push(seen_of(labels, points)?);
        Ok(())
    })?;
    Ok(seen)
}

fn walk_v2(body: &[u8]) -> Result<Vec<Seen>, String> {
    let hash = crate::ingest::series_cache::SpellingHash::new();
    let symbols = v2::Symbols::read(body, &hash).map_err(|e| e.to_string())?;
    let mut seen = Vec::new();
    let walked = v2::walk(body, |series| {
        if let Ok(labels) = symbols.pairs(&series.label_refs) {
            seen.push(seen_of(labels, &series.points)?);
        }
        Ok(())
    });
    walked.map_err(|e| e.reason.to_owned())?;
    Ok(seen)
}

fn seen_of(labels: Vec<(&[u8], &[u8])>, points: &Points<'_>) -> Result<Seen, WireError> {
    let mut histograms = Vec::new();
    for &message in &points.histograms {
        let wire = histogram::decode(message, points.starts, 1_000)?;
        let shown = wire.histogram.map(|h| format!("{h:?}")).unwrap_or_default();
        histograms.push(format!("{} {} {shown}", wire.timestamp, wire.start));
    }
    Ok(Seen {
        labels: labels.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        samples: points.samples.iter().map(|s| (s.timestamp, s.value.to_bits(), s.start)).collect(),
        histograms,
        exemplars: points.exemplars.len(),
        created: points.created,
    })
}

fn oracle_v1(body: &[u8]) -> Option<Vec<Seen>> {
    let request = wire1::WriteRequest::decode(body).ok()?;
    let seen = |series: wire1::TimeSeries| Seen {
        labels: series.labels.into_iter().map(|l| (l.name.into_bytes(), l.value.into_bytes())).collect(),
        samples: series.samples.iter().map(|s| (s.timestamp, s.value.to_bits(), 0)).collect(),
        // The version without a start: it is read as unknown there, and as field 17 here.
        histograms: series
            .histograms
            .iter()
            .map(|h| wire2::Histogram::decode(&*h.encode_to_vec()).unwrap())
            .map(|h| oracle_histogram(&h))
            .collect(),
        exemplars: series.exemplars.len(),
        created: 0,
    };
    Some(request.timeseries.into_iter().map(seen).collect())
}

fn oracle_v2(body: &[u8]) -> Option<Vec<Seen>> {
    let request = wire2::Request::decode(body).ok()?;
    let symbol = |&reference: &u32| Some(request.symbols.get(reference as usize)?.as_bytes().to_vec());
    let mut all = Vec::new();
    for series in &request.timeseries {
        let pairs = series.labels_refs.chunks_exact(2);
        let Some(labels) = pairs.map(|p| Some((symbol(&p[0])?, symbol(&p[1])?))).collect() else { continue };
        all.push(Seen {
            labels,
            samples: series
                .samples
                .iter()
                .map(|s| (s.timestamp, s.value().to_bits(), s.start_timestamp))
                .collect(),
            histograms: series.histograms.iter().map(oracle_histogram).collect(),
            exemplars: series.exemplars.len(),
            created: series.created_timestamp,
        });
    }
    Some(all)
}

fn oracle_histogram(wire: &wire2::Histogram) -> String {
    use wire2::histogram::{Count, ZeroCount};
    let spans = |spans: &[wire2::BucketSpan]| -> Vec<Span> {
        spans.iter().map(|s| Span { offset: s.offset, length: s.length }).collect()
    };
    let is_integer = !matches!(wire.count, Some(Count::CountFloat(_)));
    let counts = |deltas: &[i64], counts: &[f64]| -> Option<Vec<f64>> {
        if !is_integer {
            return Some(counts.to_vec());
        }
        let mut count = 0i64;
        let mut absolute = Vec::new();
        for &delta in deltas {
            count = count.checked_add(delta).filter(|&count| count >= 0)?;
            absolute.push(count as f64);
        }
        Some(absolute)
    };
    let positive = counts(&wire.positive_deltas, &wire.positive_counts);
    let negative = counts(&wire.negative_deltas, &wire.negative_counts);
    let shown = positive.zip(negative).map(|(positive_buckets, negative_buckets)| Histogram {
        hint: [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge]
            .get(wire.reset_hint as usize)
            .copied()
            .unwrap_or_default(),
        schema: wire.schema,
        zero_threshold: wire.zero_threshold,
        zero_count: match wire.zero_count {
            Some(ZeroCount::ZeroCountInt(n)) => n as f64,
            Some(ZeroCount::ZeroCountFloat(n)) => n,
            None => 0.0,
        },
        count: match wire.count {
            Some(Count::CountInt(n)) => n as f64,
            Some(Count::CountFloat(n)) => n,
            None => 0.0,
        },
        sum: wire.sum(),
        positive_spans: spans(&wire.positive_spans),
        positive_buckets,
        negative_spans: spans(&wire.negative_spans),
        negative_buckets,
        custom_bounds: wire.custom_values.clone(),
        is_integer,
    });
    let shown = shown.map(|h| format!("{h:?}")).unwrap_or_default();
    format!("{} {} {shown}", wire.timestamp, wire.start_timestamp)
}

/// Writes requests no encoder would write: fields in any order, repeated, packed in parts or not, and unknown.
struct Scribe(u64);

impl Scribe {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) % bound
    }

    fn varint(&mut self, mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn number(&mut self) -> u64 {
        let shift = self.below(64);
        self.below(u64::MAX) >> shift
    }

    fn field(&mut self, number: u64, wire_type: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = self.varint(number << 3 | wire_type);
        if wire_type == 2 {
            bytes.extend(self.varint(content.len() as u64));
        }
        bytes.extend_from_slice(content);
        bytes
    }

    fn varint_field(&mut self, number: u64) -> Vec<u8> {
        let value = self.number();
        let content = self.varint(value);
        self.field(number, 0, &content)
    }

    fn small_field(&mut self, number: u64, below: u64) -> Vec<u8> {
        let value = self.below(below);
        let content = self.varint(value);
        self.field(number, 0, &content)
    }

    fn double_field(&mut self, number: u64) -> Vec<u8> {
        let content = self.below(u64::MAX).to_le_bytes();
        self.field(number, 1, &content)
    }

    fn text_field(&mut self, number: u64) -> Vec<u8> {
        let texts = ["", "__name__", "up", "job", "é", "a much longer value, as they come in practice"];
        let text = texts[self.below(6) as usize];
        self.field(number, 2, text.as_bytes())
    }

    /// A repeated field of small numbers, in several packed or single parts.
    fn varints(&mut self, number: u64, below: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(3) {
            if self.below(3) == 0 {
                bytes.extend(self.small_field(number, below));
            } else {
                let packed: Vec<u8> = (0..2 * self.below(4)).map(|_| self.below(below) as u8).collect();
                bytes.extend(self.field(number, 2, &packed));
            }
        }
        bytes
    }

    fn doubles(&mut self, number: u64) -> Vec<u8> {
        let packed: Vec<u8> =
            (0..self.below(4)).flat_map(|_| (self.below(100) as f64).to_le_bytes()).collect();
        let single = self.double_field(number);
        [self.field(number, 2, &packed), if self.below(2) == 0 { single } else { Vec::new() }].concat()
    }

    fn unknown_field(&mut self) -> Vec<u8> {
        let number = 90 + self.below(1 << 20);
        match self.below(4) {
            0 => self.varint_field(number),
            1 => self.double_field(number),
            2 => self.text_field(number),
            _ => self.field(number, 5, &[1, 2, 3, 4]),
        }
    }

    /// Some of the parts, each up to twice, in any order, with unknown fields between.
    fn message(&mut self, parts: &[fn(&mut Scribe) -> Vec<u8>]) -> Vec<u8> {
        let mut fields = Vec::new();
        for part in parts {
            for _ in 0..self.below(3) {
                fields.push(part(self));
            }
        }
        if self.below(3) == 0 {
            fields.push(self.unknown_field());
        }
        if self.below(2) == 0 {
            for i in (1..fields.len()).rev() {
                fields.swap(i, self.below(i as u64 + 1) as usize);
            }
        }
        fields.concat()
    }

    fn sub(&mut self, number: u64, parts: &[fn(&mut Scribe) -> Vec<u8>]) -> Vec<u8> {
        let content = self.message(parts);
        self.field(number, 2, &content)
    }

    fn label(&mut self) -> Vec<u8> {
        self.sub(1, &[|s| s.text_field(1), |s| s.text_field(2)])
    }

    fn sample(&mut self, with_start: bool) -> Vec<u8> {
        let parts: [fn(&mut Scribe) -> Vec<u8>; 3] =
            [|s| s.double_field(1), |s| s.varint_field(2), |s| s.varint_field(3)];
        self.sub(2, &parts[..2 + with_start as usize])
    }

    fn histogram(&mut self, number: u64) -> Vec<u8> {
        self.sub(
            number,
            &[
                |s| if s.below(2) == 0 { s.varint_field(1) } else { s.double_field(2) },
                |s| s.double_field(3),
                |s| s.small_field(4, 120),
                |s| s.double_field(5),
                |s| if s.below(2) == 0 { s.varint_field(6) } else { s.double_field(7) },
                |s| s.sub(8, &[|s| s.small_field(1, 100), |s| s.small_field(2, 100)]),
                |s| s.varints(9, 100),
                |s| s.doubles(10),
                |s| s.sub(11, &[|s| s.varint_field(1), |s| s.varint_field(2)]),
                |s| s.varints(12, 100),
                |s| s.doubles(13),
                |s| s.small_field(14, 5),
                |s| s.varint_field(15),
                |s| s.doubles(16),
            ],
        )
    }

    fn v1(&mut self) -> Vec<u8> {
        self.message(&[Scribe::v1_series, Scribe::v1_series, |s| s.sub(3, &[|s| s.text_field(2)])])
    }

    fn v1_series(&mut self) -> Vec<u8> {
        self.sub(
            1,
            &[
                Scribe::label,
                Scribe::label,
                |s| s.sample(false),
                |s| s.sub(3, &[Scribe::label, |s| s.double_field(2)]),
                |s| s.histogram(4),
            ],
        )
    }

    fn v2(&mut self) -> Vec<u8> {
        self.message(&[|s| s.text_field(4), |s| s.text_field(4), Scribe::v2_series, Scribe::v2_series])
    }

    fn v2_series(&mut self) -> Vec<u8> {
        self.sub(
            5,
            &[
                |s| s.varints(1, 5),
                |s| s.sample(true),
                |s| s.histogram(3),
                |s| s.sub(4, &[|s| s.varints(1, 5), |s| s.double_field(2)]),
                |s| s.sub(5, &[|s| s.small_field(1, 9), |s| s.small_field(3, 5), |s| s.small_field(4, 5)]),
                |s| s.varint_field(6),
            ],
        )
    }
}

proptest! {
    // A failing seed is in the message; it becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_walk_reads_what_prost_reads_in_1_0(seed: u64) {
        let body = Scribe(seed).v1();
        prop_assert_eq!(walk_v1(&body).unwrap(), oracle_v1(&body).unwrap());
    }

    #[test]
    fn the_walk_reads_what_prost_reads_in_2_0(seed: u64) {
        let body = Scribe(seed).v2();
        prop_assert_eq!(walk_v2(&body).unwrap(), oracle_v2(&body).unwrap());
    }

    #[test]
    fn a_body_with_flipped_bytes_is_read_as_prost_does_or_refused(seed: u64, flips in 1..4usize) {
        let mut scribe = Scribe(seed);
        for version in [1, 2] {
            let mut body = if version == 1 { scribe.v1() } else { scribe.v2() };
            for _ in 0..flips.min(body.len()) {
                let at = scribe.below(body.len() as u64) as usize;
                body[at] = scribe.below(256) as u8;
            }
            if version == 1 {
                let (walked, read) = (walk_v1(&body), oracle_v1(&body));
                let is_group = walked.as_ref().is_err_and(|e| e.reason == "groups are not supported");
                if let (Some(read), false) = (read, is_group) {
                    prop_assert_eq!(walked.unwrap(), read);
                }
            } else {
                let (walked, read) = (walk_v2(&body), oracle_v2(&body));
                let is_group = walked.as_ref().is_err_and(|e| e.contains("groups"));
                if let (Some(read), false) = (read, is_group) {
                    prop_assert_eq!(walked.unwrap(), read);
                }
            }
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_refused_or_ends_between_fields(seed: u64) {
        let body = Scribe(seed).v1();
        for cut in 0..body.len() {
            if let Ok(walked) = walk_v1(&body[..cut]) {
                prop_assert_eq!(walked, oracle_v1(&body[..cut]).unwrap());
            }
        }
        let body = Scribe(seed).v2();
        for cut in 0..body.len() {
            if let Ok(walked) = walk_v2(&body[..cut]) {
                prop_assert_eq!(walked, oracle_v2(&body[..cut]).unwrap());
            }
        }
    }
}

#[test]
fn a_histogram_with_too_many_buckets_is_refused_and_not_kept() {
    let wire = wire2::Histogram { positive_deltas: vec![1; 1_001], ..Default::default() };
    let body = wire.encode_to_vec();
    let rejection = histogram::decode(Message::new(&body), v2::STARTS, 1_000).unwrap().histogram.unwrap_err();
    assert_eq!(rejection.reason, Reason::HistogramBuckets);
    let wire = wire2::Histogram {
        positive_deltas: vec![1; 500],
        negative_deltas: vec![1; 500],
        custom_values: vec![1.0; 1_000],
        ..Default::default()
    };
    let body = wire.encode_to_vec();
    assert!(histogram::decode(Message::new(&body), v2::STARTS, 1_000).unwrap().histogram.is_ok());
}

#[test]
fn integers_are_differences_and_never_fall_below_zero() {
    let body = wire2::Histogram { positive_deltas: vec![3, -1, -2], ..Default::default() }.encode_to_vec();
    let decoded = histogram::decode(Message::new(&body), v2::STARTS, 10).unwrap().histogram.unwrap();
    assert_eq!(decoded.positive_buckets, [3.0, 2.0, 0.0]);
    let body = wire2::Histogram { positive_deltas: vec![3, -4], ..Default::default() }.encode_to_vec();
    assert!(histogram::decode(Message::new(&body), v2::STARTS, 10).unwrap().histogram.is_err());
    assert_eq!([0, 1, 2, 3, u64::MAX].map(zigzag), [0, -1, 1, -2, i64::MIN]);
}

#[test]
fn a_family_is_the_name_without_what_its_type_appends() {
    assert_eq!(family_of("latency_bucket", MetricType::Histogram), "latency");
    assert_eq!(family_of("latency_sum", MetricType::Summary), "latency");
    assert_eq!(family_of("jobs_count", MetricType::Gauge), "jobs_count");
    assert_eq!(family_of("requests_total", MetricType::Counter), "requests_total");
}
