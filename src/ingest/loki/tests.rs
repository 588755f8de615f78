//! Whole push requests, read into a batch.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::ingest::logs::shown;
use crate::ingest::series_cache::SpellingHash;
use crate::ingest::tests::NOW;
use crate::ingest::{Options, Outcome};
use crate::wire::loki_push as wire;

const NOW_NANOS: i64 = NOW * 1_000_000;

struct Read {
    result: Result<(), String>,
    rows: Vec<String>,
    outcome: Outcome,
}

fn read_with(options: &Options, body: &[u8], format: BodyFormat) -> Read {
    let resolver = StreamResolver {
        cache: &StreamCache::default(),
        hash: &SpellingHash::new(),
        options,
        shard_of: &|_| 1,
    };
    let mut intake = LogIntake::new(options, 2, NOW);
    let result = read(body, format, &resolver, &mut intake).map_err(|e| e.to_string());
    let (batch, mut outcome, refusals) = intake.finish();
    refusals.tell(&mut outcome);
    let rows = shown(&batch).into_iter().map(|row| row.replace(&NOW_NANOS.to_string(), "NOW")).collect();
    Read { result, rows, outcome }
}

fn read_protobuf(request: &wire::PushRequest) -> Read {
    read_with(&Options::default(), &request.encode_to_vec(), BodyFormat::Protobuf)
}

fn read_json(body: &str) -> Read {
    let body = body.replace("NOW", &NOW_NANOS.to_string());
    read_with(&Options::default(), body.as_bytes(), BodyFormat::Json)
}

fn entry(nanos: i64, line: &str, metadata: &[(&str, &str)]) -> wire::Entry {
    let pair = |&(name, value): &(&str, &str)| wire::LabelPair { name: name.into(), value: value.into() };
    wire::Entry {
        timestamp: Some(wire::Timestamp {
            seconds: nanos.div_euclid(1_000_000_000),
            nanos: nanos.rem_euclid(1_000_000_000) as i32,
        }),
        line: line.into(),
        structured_metadata: metadata.iter().map(pair).collect(),
    }
}

fn stream(labels: &str, entries: Vec<wire::Entry>) -> wire::Stream {
    wire::Stream { labels: labels.into(), entries, hash: 7 }
}

#[test]
fn protobuf_and_json_say_the_same() {
    let request = wire::PushRequest {
        streams: vec![
            stream(
                r#"{app="api", pod="p-1"}"#,
                vec![
                    entry(NOW_NANOS, "all is well", &[("trace_id", "0af7"), ("user.id", "7"), ("empty", "")]),
                    entry(NOW_NANOS + 1, "é", &[]),
                ],
            ),
            stream(r#"{service_name="s", level="WARN"}"#, vec![entry(NOW_NANOS, "", &[])]),
        ],
    };
    let expected = [
        r#"{app="api", pod="p-1", service_name="api"} NOW "all is well" {trace_id=0af7, user.id=7, detected_level=unknown}"#,
        &format!(
            r#"{{app="api", pod="p-1", service_name="api"}} {} "é" {{detected_level=unknown}}"#,
            NOW_NANOS + 1
        ),
        r#"{level="WARN", service_name="s"} NOW "" {detected_level=warn}"#,
    ];
    assert_eq!(read_protobuf(&request).rows, expected);
    let json = read_json(&format!(
        r#"{{"streams":[{{"values":[["NOW","all is well",{{"trace_id":"0af7","user.id":"7","empty":""}}],["{}","é"]],
                        "stream":{{"app":"api","pod":"p-1"}}}},
                       {{"stream":{{"service_name":"s","level":"WARN"}},"values":[["NOW","",null]]}}],"more":1}}"#,
        NOW_NANOS + 1
    ));
    assert_eq!(json.rows, expected);
    assert_eq!((json.outcome.log_entries, json.outcome.rejected), (3, 0));
}

#[test]
fn the_older_json_is_read_too() {
    let time = jiff::Timestamp::from_millisecond(NOW).unwrap();
    let body = r#"{"streams":[{"labels":"{app=\"a\"}","entries":[{"ts":"TIME","line":"x"},{"ts":"soon","line":"y"}]}]}"#;
    let read = read_json(&body.replace("TIME", &time.to_string()));
    assert_eq!(read.rows, [r#"{app="a", service_name="a"} NOW "x" {detected_level=unknown}"#]);
    assert_eq!(read.outcome.reasons, [r#"timestamp "soon" is not a time as in RFC 3339"#]);
}

#[test]
fn a_bad_stream_or_entry_is_refused_alone() {
    let many: Vec<String> = (0..16).map(|i| format!("l{i}=\"v\"")).collect();
    let request = wire::PushRequest {
        streams: vec![
            stream("{app=", vec![entry(NOW_NANOS, "a", &[]), entry(NOW_NANOS, "b", &[])]),
            stream("{}", vec![entry(NOW_NANOS, "a", &[])]),
            stream(&format!("{{{}}}", many.join(",")), vec![entry(NOW_NANOS, "a", &[])]),
            stream(
                r#"{app="a"}"#,
                vec![
                    entry(NOW_NANOS + 660_000_000_000, "ahead", &[]),
                    entry(NOW_NANOS - 31 * 86_400_000_000_000, "behind", &[]),
                    entry(NOW_NANOS, "good", &[]),
                ],
            ),
        ],
    };
    let read = read_protobuf(&request);
    assert_eq!(read.rows, [r#"{app="a", service_name="a"} NOW "good" {detected_level=unknown}"#]);
    assert_eq!((read.outcome.log_entries, read.outcome.rejected), (1, 6));
    let ahead = NOW_NANOS + 660_000_000_000;
    let behind = NOW_NANOS - 31 * 86_400_000_000_000;
    assert_eq!(
        read.outcome.reasons,
        [
            r#"stream labels "{app=": expected a quoted value at byte 5, as in {app="api"}"#,
            "a stream has no labels: at least one is needed",
            "16 labels of a stream > 15 (--limits.max-stream-labels)",
            &format!("timestamp {ahead} is 11 minutes ahead (limit 10m)"),
            &format!("timestamp {behind} is 31 days behind (limit 30d)"),
        ]
    );
    assert!(!read.outcome.retryable);
    assert!(read.result.is_ok());
}

#[test]
fn lines_and_metadata_have_limits() {
    let names: Vec<String> = (0..129).map(|i| format!("n{i}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let entries = vec![
        entry(NOW_NANOS, &"x".repeat(262_145), &[]),
        entry(NOW_NANOS, "many names", &names),
        entry(NOW_NANOS, "much metadata", &[("a", &"x".repeat(65_536))]),
        entry(NOW_NANOS, &"x".repeat(262_144), &names[1..]),
    ];
    let read = read_protobuf(&wire::PushRequest { streams: vec![stream("{a=\"b\"}", entries)] });
    assert_eq!((read.outcome.log_entries, read.outcome.rejected), (1, 3));
    assert_eq!(
        read.outcome.reasons,
        [
            "log line 262145 B > 262144 (--limits.max-line-bytes)",
            "129 names of structured metadata > 128 (--limits.max-metadata-names)",
            "structured metadata 65537 B > 65536 (--limits.max-metadata-bytes)",
        ]
    );
}

#[test]
fn tiny_streams_cannot_take_much_more_memory_than_their_bytes() {
    let stream = |i| stream(&format!("{{a=\"{i}\"}}"), vec![entry(NOW_NANOS, "", &[])]);
    let body = wire::PushRequest { streams: (0..1_000).map(stream).collect() }.encode_to_vec();
    let options = Options { decoded_bytes_max: body.len(), ..Options::default() };
    let read = read_with(&options, &body, BodyFormat::Protobuf);
    assert!((100..900).contains(&read.outcome.log_entries), "{:?}", read.outcome);
    assert!(read.outcome.reasons[0].contains("too much memory"), "{:?}", read.outcome);
}

#[test]
fn what_is_no_text_is_mended() {
    let mut body = read_me(b"\xFFline\xC3");
    assert_eq!(
        body.rows,
        ["{a=\"b\", service_name=\"unknown_service\"} NOW \"\u{FFFD}line\u{FFFD}\" {detected_level=unknown}"]
    );
    body = read_me("é".as_bytes());
    assert!(body.rows[0].contains("\"é\""));
}

/// An entry whose line is these bytes.
fn read_me(line: &[u8]) -> Read {
    let placeholder = "@".repeat(line.len());
    let request =
        wire::PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(NOW_NANOS, &placeholder, &[])])] };
    let mut bytes = request.encode_to_vec();
    let at = bytes.windows(line.len()).position(|window| window == placeholder.as_bytes()).unwrap();
    bytes[at..at + line.len()].copy_from_slice(line);
    read_with(&Options::default(), &bytes, BodyFormat::Protobuf)
}

#[test]
fn a_level_that_was_found_before_is_kept_in_todays_words() {
    let entries = vec![
        entry(NOW_NANOS, "error", &[("detected_level", "Information"), ("level", "debug")]),
        entry(NOW_NANOS, "error", &[("detected_level", "loud"), ("level", "debug")]),
        entry(NOW_NANOS, "error", &[("severity_number", "13")]),
        entry(NOW_NANOS, "error", &[]),
    ];
    let read = read_protobuf(&wire::PushRequest { streams: vec![stream("{a=\"b\"}", entries)] });
    let levels = read.rows.iter().map(|row| row.rsplit_once("detected_level=").unwrap().1);
    assert_eq!(levels.collect::<Vec<_>>(), ["info}", "debug}", "warn}", "error}"]);
}

#[test]
fn labels_are_parsed_once_for_each_spelling() {
    let (options, parsed) = (Options::default(), std::cell::Cell::new(0));
    let shard_of = |_: &crate::model::Labels| {
        parsed.set(parsed.get() + 1);
        0
    };
    let (cache, hash) = (StreamCache::default(), SpellingHash::new());
    let resolver = StreamResolver { cache: &cache, hash: &hash, options: &options, shard_of: &shard_of };
    for spelling in [r#"{a="b"}"#, r#"{a="b"}"#, r#"{a="c"}"#, r#"{ a="b" }"#, r#"{a="b"}"#] {
        resolver.spelled(spelling.as_bytes()).unwrap();
    }
    assert_eq!(parsed.get(), 3);
    assert!(resolver.spelled(b"{a=").is_err() && resolver.spelled(b"{a=").is_err());
    assert!(resolver.spelled(b"{a=\"\xFF\"}").is_err(), "bytes that are no text");
}

#[test]
fn a_request_without_streams_is_refused() {
    let empty = read_protobuf(&wire::PushRequest::default());
    assert_eq!(empty.result, Err("no streams in the request: at least one is needed".to_owned()));
    assert_eq!(read_json("{}").result, empty.result);
}

#[test]
fn json_that_is_no_push_is_refused() {
    for (body, words) in [
        ("[", "invalid JSON at byte"),
        (r#"{"streams":[{"stream":{},"values":[[1,"x"]]}]}"#, "expected a string"),
        (r#"{"streams":[{"stream":{"a":1},"values":[]}]}"#, "expected a string"),
        (r#"{"streams":[{"stream":{},"values":[["1"]]}]}"#, "invalid length 1"),
    ] {
        let error = read_json(body).result.unwrap_err();
        assert!(error.contains(words), "{body}: {error}");
    }
    let read = read_json(r#"{"streams":[{"stream":{"a":"b"},"values":[["1.5","x"],["NOW","y"]]}]}"#);
    assert_eq!(read.outcome.reasons, [r#"timestamp "1.5" is not nanoseconds since 1970 as decimal digits"#]);
    assert_eq!(read.outcome.log_entries, 1);
    let read = read_json(r#"{"streams":[{"stream":{"a.b":"c"},"values":[["NOW","x"]]}]}"#);
    assert_eq!(read.outcome.reasons, [r#"label name "a.b" is not [a-zA-Z_][a-zA-Z0-9_]*"#]);
}

fn requests() -> impl Strategy<Value = wire::PushRequest> {
    let text = "[a-zé=\" ]{0,12}";
    let metadata = prop::collection::vec(("[a-z.]{0,3}", text), 0..3);
    let entries = prop::collection::vec((0..1_000_000_000i64, text, metadata), 0..4);
    let labels = prop::sample::select(vec![r#"{app="a"}"#, r#"{b="c",level="info"}"#, "{", "{}"]);
    prop::collection::vec((labels, entries), 1..4).prop_map(|streams| wire::PushRequest {
        streams: streams
            .into_iter()
            .map(|(labels, entries)| {
                let entry = |(before, line, metadata): (i64, String, Vec<(String, String)>)| {
                    let metadata: Vec<(&str, &str)> =
                        metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                    entry(NOW_NANOS - before, &line, &metadata)
                };
                stream(labels, entries.into_iter().map(entry).collect())
            })
            .collect(),
    })
}

/// Labels, time, line, metadata.
type Row = (String, i64, String, Vec<(String, String)>);

/// What should be stored, by way of a decoder.
fn oracle(request: &wire::PushRequest) -> Vec<Row> {
    let mut rows = Vec::new();
    for stream in request.streams.iter().filter(|stream| stream.labels.len() > 2) {
        for entry in &stream.entries {
            let time = entry.timestamp.unwrap();
            let pairs = entry.structured_metadata.iter().map(|pair| (pair.name.clone(), pair.value.clone()));
            let pairs = pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect();
            let nanos = time.seconds * 1_000_000_000 + i64::from(time.nanos);
            rows.push((stream.labels.clone(), nanos, entry.line.clone(), pairs));
        }
    }
    rows
}

proptest! {
    #[test]
    fn the_walk_finds_what_a_decoder_finds(request in requests()) {
        let options = Options::default();
        let resolver = StreamResolver {
            cache: &StreamCache::default(),
            hash: &SpellingHash::new(),
            options: &options,
            shard_of: &|_| 0,
        };
        let mut intake = LogIntake::new(&options, 1, NOW);
        read(&request.encode_to_vec(), BodyFormat::Protobuf, &resolver, &mut intake).unwrap();
        let (batch, ..) = intake.finish();
        let mut found = Vec::new();
        for stream in &batch.shards[0].streams {
            let spelling = match stream.labels.get("app") {
                "a" => r#"{app="a"}"#,
                _ => r#"{b="c",level="info"}"#,
            };
            for entry in stream.entries() {
                let pairs = entry.metadata().filter(|(name, _)| *name != "detected_level");
                let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                found.push((spelling.to_owned(), entry.timestamp, entry.line.to_owned(), pairs));
            }
        }
        prop_assert_eq!(found, oracle(&request));
    }

    #[test]
    fn no_body_panics(
        request in requests(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let options = Options::default();
        let mut body = request.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for format in [BodyFormat::Protobuf, BodyFormat::Json] {
            read_with(&options, &body, format);
            read_with(&options, &body[..cut.index(body.len())], format);
            read_with(&options, &noise, format);
        }
    }
}
