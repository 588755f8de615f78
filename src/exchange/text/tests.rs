//! What becomes of texts, good and bad.

use proptest::prelude::*;

use super::*;
use crate::model::{MetricMetadata, MetricType};

fn read(text: &str) -> Result<Vec<String>, String> {
    read_as(text, None)
}

fn read_as(text: &str, times: Option<Times>) -> Result<Vec<String>, String> {
    let mut batch = Batch::default();
    let mut reader = Reader::new(text.as_bytes(), times);
    while reader.fill(&mut batch).map_err(|error| error.to_string())? {}
    Ok(batch.show())
}

#[test]
fn openmetrics_is_read_with_metadata_exemplars_and_starts() {
    let text = r#"# TYPE requests counter
# HELP requests Of all \"kinds\".
# UNIT requests seconds
requests_total{code="200"} 5 1700000000.123 # {trace_id="ab"} 0.5 1700000000
requests_created{code="200"} 1600000000.5 1700000000.123
requests_total{code="500"} 1 1700000000.123
# TYPE temperature gauge
temperature -1e3 1700000000
# EOF
"#;
    assert_eq!(
        read(text).unwrap(),
        [
            r#"requests_total{code="200"} 5@1700000000123 since 1600000000500"#,
            r#"requests_total{code="200"} # {trace_id="ab"} 0.5@1700000000000"#,
            r#"requests_total{code="200"} is a counter: Of all "kinds". [seconds]"#,
            r#"requests_total{code="500"} 1@1700000000123"#,
            r#"requests_total{code="500"} is a counter: Of all "kinds". [seconds]"#,
            "temperature -1000@1700000000000",
            "temperature is a gauge:  []",
        ]
    );
}

#[test]
fn a_start_is_that_of_all_series_of_its_metric_and_of_its_point_alone() {
    let text = r#"# TYPE a histogram
a_bucket{le="1",x="y"} 1 10
a_bucket{le="+Inf",x="y"} 2 10
a_count{x="y"} 2 10
a_sum{x="y"} 1.5 10
a_created{x="y"} 5 10
a_count{x="y"} 3 20
a_created{x="z"} 6 20
a_count{x="z"} 3 20
# TYPE b gauge
b_created 7 30
"#;
    assert_eq!(
        read(text).unwrap().into_iter().filter(|line| !line.contains("is a")).collect::<Vec<_>>(),
        [
            r#"a_bucket{le="1", x="y"} 1@10000 since 5000"#,
            r#"a_bucket{le="+Inf", x="y"} 2@10000 since 5000"#,
            r#"a_count{x="y"} 2@10000 since 5000"#,
            r#"a_count{x="y"} 3@20000"#,
            r#"a_sum{x="y"} 1.5@10000 since 5000"#,
            r#"a_count{x="z"} 3@20000 since 6000"#,
            "b_created 7@30000",
        ]
    );
}

#[test]
fn names_of_any_characters_stand_in_quotes() {
    let text = r#"# HELP "my.metric" Dotted.
{"my.metric","a b"="1\"\\\n",c="é",} NaN 1
 plain { x = "}" , }  +Inf  2
"#;
    assert_eq!(
        read(text).unwrap(),
        [
            r#"{__name__="my.metric", "a b"="1\"\\\n", c="é"} NaN@1000"#,
            r#"{__name__="my.metric", "a b"="1\"\\\n", c="é"} is a unspecified: Dotted. []"#,
            r#"plain{x="}"} inf@2000"#,
        ]
    );
}

#[test]
fn the_first_timestamp_tells_seconds_from_milliseconds() {
    for (text, times, expected) in [
        ("a 1 1700000000\na 2 1700000001", None, "a 1@1700000000000"),
        ("a 1 1700000000000\na 2 5", None, "a 1@1700000000000"),
        ("a 1 1.7e9", None, "a 1@1700000000000"),
        ("a 1 1700000000000.5", None, "a 1@1700000000000500"),
        ("a 1 1700000000", Some(Times::Milliseconds), "a 1@1700000000"),
        ("a 1 1700000000000", Some(Times::Seconds), "a 1@1700000000000000"),
    ] {
        assert_eq!(read_as(text, times).unwrap()[0], expected, "{text}");
    }
    assert_eq!(read("a 1 1700000000000\na 2 5").unwrap()[1], "a 2@5");
}

#[test]
fn an_error_names_line_and_column() {
    for (text, error) in [
        ("a 1 1\nb\n", "line 2, column 2: expected a value, found nothing"),
        ("a one 1\n", r#"line 1, column 3: expected a value, found "one""#),
        ("a 1\n", "line 1, column 4: no timestamp: history needs one for every sample"),
        ("a 1 soon\n", r#"line 1, column 5: a timestamp that is no number of seconds: "soon""#),
        ("a 1 1e300\n", r#"line 1, column 5: a timestamp that is no number of seconds: "1e300""#),
        ("é 1 1\n", r#"line 1, column 1: a metric cannot be called "é" outside of quotes"#),
        ("a{é=\"1\" b=\"2\"} 1 1", r#"line 1, column 3: a label cannot be called "é" outside of quotes"#),
        ("a{b=\"é\" c=\"2\"} 1 1", r#"line 1, column 9: expected '}', found "c=\"2\"}""#),
        ("a{b=\"1\",b=\"2\"} 1 1", r#"line 1, column 1: duplicate label "b""#),
        ("a{b=\"1} 1 1", "line 1, column 2: braces without an end"),
        ("a{b 1 1", "line 1, column 2: braces without an end"),
        ("{b=\"1\"} 1 1", "line 1, column 1: a sample of no metric: it has no name"),
        ("a{\"b\"} 1 1", r#"line 1, column 1: duplicate label "__name__""#),
        ("a 1 1 1", r#"line 1, column 7: expected the end of the line, found "1""#),
        ("a 1 1 # {a=\"b\"}", "line 1, column 16: expected the value of an exemplar, found nothing"),
        ("# TYPE a list", r#"line 1, column 10: no type of metrics is called "list""#),
        ("# TYPE", "line 1, column 7: # TYPE of which metric?"),
        ("# EOF\n\na 1 1", "line 3, column 1: text after # EOF"),
    ] {
        assert_eq!(read(text).unwrap_err(), error, "{text}");
    }
    let mut reader = Reader::new(&b"a 1 1\nb\xff 1 1"[..], None);
    let error = reader.fill(&mut Batch::default()).unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 2: not UTF-8");
}

#[test]
fn a_line_without_an_end_is_not_collected() {
    let mut endless = std::io::BufReader::new(std::io::repeat(b'a'));
    let error = Reader::new(&mut endless, None).fill(&mut Batch::default()).unwrap_err();
    assert_eq!(error.to_string(), "line 1 is longer than 1048576 bytes");
}

#[test]
fn a_long_text_comes_in_batches_that_say_where_they_were_read() {
    let text: String = (0..60_000).map(|i| format!("a{{b=\"{}\"}} 1 {i}\n", i % 7)).collect();
    let mut reader = Reader::new(text.as_bytes(), None);
    let (mut first, mut second) = (Batch::default(), Batch::default());
    assert!(reader.fill(&mut first).unwrap());
    assert!(!reader.fill(&mut second).unwrap());
    assert_eq!((first.origin.as_str(), second.origin.as_str()), ("lines 1 to 50000", "lines 50001 to 60000"));
    assert_eq!(first.sample_count + second.sample_count, 60_000);
}

#[test]
fn lines_may_end_as_those_of_windows_do() {
    let text = "# TYPE a gauge\r\n# HELP a Help.\r\na{b=\"\r\"} 1 1\r\n# EOF\r\n";
    assert_eq!(read(text).unwrap(), [r#"a{b="\r"} 1@1000"#, r#"a{b="\r"} is a gauge: Help. []"#]);
}

#[test]
fn a_nan_is_never_a_stale_marker() {
    let mut batch = Batch::default();
    Reader::new(&b"a nan 1\na -NaN 2"[..], None).fill(&mut batch).unwrap();
    assert_eq!(batch.floats(), [(1_000, 0x7ff8_0000_0000_0001), (2_000, 0x7ff8_0000_0000_0001)]);
}

/// Pieces of which texts are made that nearly are one.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "# TYPE ",
        "# HELP ",
        "# UNIT ",
        "# EOF",
        "a",
        "a_total",
        "a_created",
        "{",
        "}",
        "\"",
        "\\",
        "=",
        ",",
        " ",
        "\n",
        "#",
        "counter",
        "histogram",
        "le=\"1\"",
        "1",
        "NaN",
        "1.5e9",
        "é",
        "\t",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => ".{0,3}"]
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_read(pieces in prop::collection::vec(piece(), 0..60)) {
        let _ = read(&pieces.concat());
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_read(bytes: Vec<u8>) {
        let _ = Reader::new(&bytes[..], None).fill(&mut Batch::default());
    }

    #[test]
    fn samples_come_back_with_their_labels_times_and_bits(
        name in "[a-z_:][a-z0-9_:]{0,9}",
        labels in prop::collection::btree_map("[a-z][a-z0-9_.é ]{0,6}", ".{1,8}", 0..4),
        value: f64,
        millis in -1_000_000_000_000i64..4_000_000_000_000,
    ) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("\"{}\"=\"{}\"", escape(name), escape(value))).collect();
        let sign = if millis < 0 { "-" } else { "" };
        let time = format!("{sign}{}.{:03}", millis.unsigned_abs() / 1_000, millis.unsigned_abs() % 1_000);
        let text = format!("{name}{{{}}} {value:?} {time}\n", pairs.join(","));
        let mut batch = Batch::default();
        Reader::new(text.as_bytes(), Some(Times::Seconds)).fill(&mut batch).unwrap();
        let all = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("__name__", name.as_str())]);
        prop_assert_eq!(batch.series().next().unwrap(), &crate::model::Labels::from_pairs(all).unwrap());
        if !value.is_nan() {
            prop_assert_eq!(batch.floats(), vec![(millis, value.to_bits())]);
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        name in "[a-z_:][a-z0-9_:]{0,9}|.{1,6}",
        labels in prop::collection::btree_map("[a-z][a-z0-9_.é ]{0,6}|.{1,4}", ".{1,8}", 0..4),
        bits: u64,
        millis in -1_000_000_000_000i64..4_000_000_000_000,
    ) {
        let value = f64::from_bits(bits);
        let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let named = pairs.filter(|(name, _)| *name != "__name__").chain([("__name__", name.as_str())]);
        let labels = crate::model::Labels::from_pairs(named).unwrap();
        let about = MetricMetadata { help: name.clone(), ..MetricMetadata::default() };
        let mut text = String::new();
        write::push_family(&mut text, &name, &about);
        write::push_series(&mut text, &labels);
        write::push_point(&mut text, millis, value);
        text += write::END;
        let mut batch = Batch::default();
        let mut reader = Reader::new(text.as_bytes(), Some(Times::Seconds));
        prop_assert!(!reader.fill(&mut batch).unwrap() && reader.has_end());
        prop_assert_eq!(batch.series().next().unwrap(), &labels);
        let expected = if value.is_nan() { 0x7ff8_0000_0000_0001 } else { bits };
        prop_assert_eq!(batch.floats(), vec![(millis, expected)]);
        let help = name.trim_start_matches([' ', '\t']).trim_end_matches('\r');
        let told = batch.show().iter().any(|line| line.ends_with(&format!("is a unspecified: {help} []")));
        prop_assert!(told || help.is_empty(), "{}", text);
    }
}

#[test]
fn a_family_is_named_as_the_format_wants_it() {
    for (metric, metric_type, expected) in [
        ("a_total", MetricType::Counter, Some("a")),
        ("a", MetricType::Counter, None),
        ("_total", MetricType::Counter, None),
        ("a_bucket", MetricType::Histogram, Some("a")),
        ("a", MetricType::Histogram, None),
        ("a_sum", MetricType::Summary, Some("a")),
        ("a", MetricType::Summary, Some("a")),
        ("a_count", MetricType::Gauge, Some("a_count")),
    ] {
        assert_eq!(write::family_name(metric, metric_type), expected, "{metric}");
    }
    let about =
        MetricMetadata { metric_type: MetricType::Gauge, help: "a \"b\"".into(), unit: "bytes".into() };
    let mut text = String::new();
    write::push_family(&mut text, "free_bytes", &about);
    write::push_family(&mut text, "free.bytes", &about);
    assert_eq!(
        text,
        "# TYPE free_bytes gauge\n# UNIT free_bytes bytes\n# HELP free_bytes a \\\"b\\\"\n\
         # TYPE \"free.bytes\" gauge\n# HELP \"free.bytes\" a \\\"b\\\"\n"
    );
}
