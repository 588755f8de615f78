//! JSON lines as VictoriaMetrics exports and imports them: each a piece of one series,
//! `{"metric":{"__name__":"up","job":"a"},"values":[1,null],"timestamps":[1700000000000,1700000015000]}`.
//!
//! JSON has finite numbers alone: `null` is NaN, `"Infinity"` and `"-Infinity"` are themselves, both as VictoriaMetrics has
//! them. Ours are `"stale"`, and `"nan:"` with the bits for other NaNs; and a line of native histograms has
//! `"histograms"` in place of `"values"`. Nothing is lost, to the bit.

mod histogram;
mod line;
mod value;
mod write;

use std::io::BufRead;

use super::Batch;
use super::text::{Lines, TextError};
use line::Points;

pub use write::{POINTS_MAX, push_floats, push_histograms};

/// VictoriaMetrics puts all of a series into one line unless it is told otherwise: some millions of samples.
const LINE_BYTES_MAX: usize = 64 << 20;

pub struct Reader<R> {
    lines: Lines<R>,
    /// Of which some samples did not fit into the batch before.
    begun: Option<Points>,
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Reader<R> {
        Reader { lines: Lines::new(input, LINE_BYTES_MAX), begun: None }
    }

    /// Reads until the batch is full, or to the end: then there is no more, `false`.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool, TextError> {
        let first = self.lines.number + u64::from(self.begun.is_none());
        loop {
            batch.origin = format!("lines {first} to {}", self.lines.number);
            if let Some(points) = &mut self.begun
                && !points.give(batch)
            {
                return Ok(true);
            }
            self.begun = None;
            let Some(line) = self.lines.next()? else { return Ok(false) };
            let number = self.lines.number;
            if !line.trim_ascii().is_empty() {
                let points = line::parse(&line);
                let points = points.map_err(|fault| TextError::Syntax {
                    line: number,
                    column: fault.column_of(&line),
                    reason: fault.reason,
                })?;
                self.begun = Some(points);
            }
            self.lines.give_back(line);
        }
    }
}

/// Whether a text that begins so is of JSON lines: a name in quotes may begin OpenMetrics, too, but then no colon
/// follows.
pub fn begins(text: &[u8]) -> bool {
    fn after(text: &[u8], expected: u8) -> Option<&[u8]> {
        text.trim_ascii_start().strip_prefix(&[expected])
    }
    let name = after(text, b'{').and_then(|text| after(text, b'"'));
    let behind = name.and_then(|name| Some(&name[memchr::memchr(b'"', name)? + 1..]));
    behind.is_some_and(|text| after(text, b':').is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Histogram, Labels, Timestamp};

    fn read(text: &[u8]) -> Result<Batch, String> {
        let mut batch = Batch::default();
        let mut reader = Reader::new(text);
        while reader.fill(&mut batch).map_err(|error| error.to_string())? {
            assert!(batch.is_full());
        }
        Ok(batch)
    }

    fn up() -> Labels {
        Labels::from_pairs([("__name__", "up"), ("job", "a\"\\\n\u{1}é")]).unwrap()
    }

    #[test]
    fn lines_of_victoriametrics_are_read() {
        let text = br#"{"metric":{"__name__":"up","job":"a"},"values":[1,null,"Infinity",-1.5e-7],"timestamps":[1,2,3,4]}

{"timestamps":[5],"more":{"a":[1]},"metric":{"__name__":"up","job":"a"},"values":["-Infinity"]}"#;
        let batch = read(text).unwrap();
        let bits = [1.0, f64::from_bits(0x7ff8_0000_0000_0001), f64::INFINITY, -1.5e-7, f64::NEG_INFINITY]
            .map(f64::to_bits);
        assert_eq!(batch.floats(), (1..).zip(bits).collect::<Vec<_>>());
        assert_eq!(batch.series().count(), 1);
    }

    #[test]
    fn an_error_names_line_and_column() {
        for (text, error) in [
            ("[]", "line 1, column 1: expected '{', found \"[]\""),
            ("{}", "line 1, column 1: a line without \"metric\""),
            (r#"{"metric":{"a":1}}"#, "line 1, column 16: invalid type: integer `1`, expected a string"),
            (r#"{"metric":{},"values":[1],"timestamps":[]}"#, "line 1, column 1: 1 values and 0 timestamps"),
            (
                r#"{"metric":{},"values":[1e999x],"timestamps":[1]}"#,
                "line 1, column 24: no value is written \"1e999x\"",
            ),
            (
                r#"{"metric":{},"values":["inf"],"timestamps":[1]}"#,
                "line 1, column 24: no value is written \"\\\"inf\\\"\"",
            ),
            (
                r#"{"metric":{},"values":[1],"timestamps":[1.5]}"#,
                "line 1, column 41: no timestamp in milliseconds: \"1.5\"",
            ),
            (r#"{"metric":{},"values":[1"#, "line 1, column 25: expected ']', found the end of the line"),
            ("\n{\"metric\":{}} x", "line 2, column 15: expected the end of the line, found \"x\""),
        ] {
            assert_eq!(read(text.as_bytes()).err().unwrap(), error, "{text}");
        }
    }

    #[test]
    fn a_line_of_more_samples_than_a_batch_takes_is_gone_on_from() {
        let count = 120_000;
        let mut text = r#"{"metric":{"__name__":"a"},"values":["#.to_owned();
        text += &vec!["1"; count].join(",");
        text += "],\"timestamps\":[";
        text += &(0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        text += "]}\n";
        let mut reader = Reader::new(text.as_bytes());
        let mut counts = Vec::new();
        loop {
            let mut batch = Batch::default();
            let has_more = reader.fill(&mut batch).unwrap();
            counts.push(batch.sample_count);
            assert_eq!(batch.origin, "lines 1 to 1");
            if !has_more {
                break;
            }
        }
        assert_eq!(counts, [50_000, 50_000, 20_000]);
    }

    #[test]
    fn the_first_bytes_tell_json_lines_from_quoted_names() {
        assert!(begins(br#" {"metric":{"#));
        assert!(begins(br#"{ "timestamps" : ["#));
        assert!(!begins(br#"{"metric",a="b"} 1 1"#));
        assert!(!begins(b"up 1 1") && !begins(b"") && !begins(b"{\"a"));
    }

    #[test]
    fn histograms_come_back() {
        let histogram = Histogram {
            hint: crate::model::histogram::ResetHint::Gauge,
            schema: crate::model::histogram::CUSTOM_BUCKETS_SCHEMA,
            count: 3.5,
            sum: crate::model::metrics::stale_marker(),
            zero_threshold: 1e-128,
            positive_spans: vec![crate::model::histogram::Span { offset: -3, length: 2 }],
            positive_buckets: vec![1.5, 2.0],
            custom_bounds: vec![0.1, f64::INFINITY],
            ..Histogram::default()
        };
        let mut text = String::new();
        push_histograms(&mut text, &up(), &[(7, &histogram), (8, &Histogram::default())]);
        let mut points = line::parse(text.trim_end().as_bytes()).unwrap();
        let Points { histograms, labels, .. } = &points;
        assert!(histograms[0].1.is_identical(&histogram), "{text}{:?}", histograms[0]);
        assert!(histograms[1].1.is_identical(&Histogram::default()) && histograms[1].0 == 8);
        assert_eq!(*labels, up());
        assert!(points.give(&mut Batch::default()));
    }

    proptest! {
        #[test]
        fn floats_come_back_to_the_bit(samples in prop::collection::vec((any::<i64>(), any::<u64>()), 1..50)) {
            let floats: Vec<(Timestamp, f64)> = samples.iter().map(|(time, bits)| (*time, f64::from_bits(*bits))).collect();
            let mut text = String::new();
            push_floats(&mut text, &up(), &floats);
            let batch = read(text.as_bytes()).unwrap();
            prop_assert_eq!(batch.floats(), samples);
            prop_assert_eq!(batch.series().next().unwrap(), &up());
        }

        #[test]
        fn no_line_is_too_odd_to_be_read(cut in 0usize..200, at in 0usize..200, byte: u8) {
            let mut text = String::new();
            push_histograms(&mut text, &up(), &[(7, &Histogram::default())]);
            push_floats(&mut text, &up(), &[(1, 2.0), (3, f64::NAN)]);
            let mut bytes = text.into_bytes();
            bytes.truncate(cut.max(1));
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
