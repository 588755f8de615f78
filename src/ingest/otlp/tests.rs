//! Whole OTLP requests, through the receivers into a store.

use prost::Message as _;

use super::*;
use crate::ingest::tests::{Fixture, NOW};
use crate::ingest::{self, Encoding, Outcome};
use crate::model::MetricType;
use crate::model::time::{DAY, HOUR};
use crate::storage::Signal;

/// The JSON of a request with one resource and these metrics; `NOW` stands for its nanoseconds, `NOW-15s` for
/// those of a scrape before.
fn request(resource: &str, metrics: &str) -> String {
    let nanos = |ms: i64| format!("\"{}\"", ms * 1_000_000);
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},"scopeMetrics":[{{"metrics":[{metrics}]}}]}}]}}"#
    )
    .replace("NOW-15s", &nanos(NOW - 15_000))
    .replace("NOW", &nanos(NOW))
}

const SERVICE: &str = r#"{"key":"service.name","value":{"stringValue":"api"}}"#;

fn send(fixture: &Fixture, body: &str) -> Outcome {
    let ingest = &fixture.ingest;
    ingest
        .otlp(
            Signal::Metrics,
            body.as_bytes(),
            Encoding::Identity,
            BodyFormat::Json,
            NOW,
            fixture.completion(),
        )
        .unwrap()
}

fn send_protobuf(fixture: &Fixture, body: &[u8]) -> Result<Outcome, IngestError> {
    let (plain, format) = (Encoding::Identity, BodyFormat::Protobuf);
    fixture.ingest.otlp(Signal::Metrics, body, plain, format, NOW, fixture.completion())
}

fn stored(metrics: &str) -> (Outcome, Vec<String>) {
    let fixture = Fixture::new(ingest::Options::default());
    let outcome = send(&fixture, &request(SERVICE, metrics));
    assert_eq!(fixture.done(), 1);
    (outcome, fixture.stored())
}

#[test]
fn a_gauge_is_a_series_for_each_point() {
    let (outcome, stored) = stored(
        r#"{"name":"room.temperature","unit":"Cel","gauge":{"dataPoints":[
            {"timeUnixNano":NOW,"asDouble":21.5,"attributes":[{"key":"room.name","value":{"stringValue":"a"}}]},
            {"timeUnixNano":NOW,"asInt":"-3","attributes":[{"key":"room.name","value":{"stringValue":"b"}}]},
            {"timeUnixNano":NOW,"flags":1,"attributes":[{"key":"room.name","value":{"stringValue":"c"}}]}]}}"#,
    );
    assert_eq!((outcome.samples, outcome.rejected), (3, 0));
    assert_eq!(
        stored,
        [
            r#"room_temperature_celsius{job="api", room_name="a"} 0 21.5"#,
            r#"room_temperature_celsius{job="api", room_name="b"} 0 -3"#,
            r#"room_temperature_celsius{job="api", room_name="c"} 0 NaN"#,
        ]
    );
}

#[test]
fn deltas_are_added_up_and_cumulative_sums_are_not() {
    let point = |time: &str, value: u32| {
        format!(r#"{{"startTimeUnixNano":NOW-15s,"timeUnixNano":{time},"asInt":"{value}"}}"#)
    };
    let points = format!("[{},{}]", point("NOW-15s", 3), point("NOW", 4));
    let (outcome, stored) = stored(&format!(
        r#"{{"name":"d","sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":{points}}}}},
           {{"name":"c","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":{points}}}}},
           {{"name":"up.down","sum":{{"aggregationTemporality":2,"dataPoints":{points}}}}},
           {{"name":"neither","sum":{{"dataPoints":{points}}}}}"#
    ));
    assert_eq!(
        stored,
        [
            r#"c_total{job="api"} -15000 3"#,
            r#"c_total{job="api"} 0 4"#,
            r#"d_total{job="api"} -15000 3"#,
            r#"d_total{job="api"} 0 7"#,
            r#"up_down{job="api"} -15000 3"#,
            r#"up_down{job="api"} 0 4"#,
        ]
    );
    assert_eq!(outcome.rejected, 2);
    assert_eq!(
        outcome.reasons,
        ["metric neither is neither cumulative nor delta (aggregation temporality 0)"]
    );
}

#[test]
fn an_explicit_histogram_is_a_classic_one() {
    let (outcome, stored) = stored(
        r#"{"name":"latency","unit":"ms","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":NOW,"count":"6","sum":9.5,"bucketCounts":["1","2","3"],"explicitBounds":[0.5,10],
             "exemplars":[{"timeUnixNano":NOW,"asDouble":7,"traceId":"0AF7651916CD43DD8448EB211C80319C"}]}]}}"#,
    );
    assert_eq!((outcome.samples, outcome.exemplars, outcome.rejected), (5, 1, 0));
    assert_eq!(
        stored,
        [
            r#"latency_milliseconds_bucket{job="api", le="+Inf"} 0 6"#,
            r#"latency_milliseconds_bucket{job="api", le="0.5"} 0 1"#,
            r#"latency_milliseconds_bucket{job="api", le="10"} 0 3"#,
            r#"latency_milliseconds_count{job="api"} 0 6"#,
            r#"latency_milliseconds_sum{job="api"} 0 9.5"#,
        ]
    );
}

#[test]
fn an_exponential_histogram_is_a_native_one() {
    let (outcome, stored) = stored(
        r#"{"name":"size","unit":"By","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":NOW,"count":3,"sum":10,"zeroCount":1,"scale":0,
             "positive":{"offset":1,"bucketCounts":["0","2"]}}]}}"#,
    );
    assert_eq!((outcome.histograms, outcome.rejected), (1, 0));
    assert_eq!(stored, [r#"size_bytes{job="api"} 0 histogram n=3 sum=10 schema=0 [2.0] []"#]);
}

#[test]
fn a_summary_is_its_quantiles_sum_and_count() {
    let (_, stored) = stored(
        r#"{"name":"s","summary":{"dataPoints":[{"timeUnixNano":NOW,"count":2,"sum":3,
            "quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":"NaN"}]}]}}"#,
    );
    assert_eq!(
        stored,
        [
            r#"s_count{job="api"} 0 2"#,
            r#"s_sum{job="api"} 0 3"#,
            r#"s{job="api", quantile="0.5"} 0 1"#,
            r#"s{job="api", quantile="1"} 0 NaN"#,
        ]
    );
}

#[test]
fn a_resource_with_more_to_say_has_target_info_at_the_times_of_its_points() {
    let fixture = Fixture::new(ingest::Options::default());
    let region = r#"{"key":"cloud.region","value":{"stringValue":"eu"}}"#;
    let metrics = r#"{"name":"x","gauge":{"dataPoints":[
        {"timeUnixNano":NOW-15s,"asInt":1},{"timeUnixNano":NOW,"asInt":2}]}}"#;
    send(&fixture, &request(&format!("{SERVICE},{region}"), metrics));
    assert_eq!(
        fixture.stored(),
        [
            r#"target_info{cloud_region="eu", job="api"} -15000 1"#,
            r#"target_info{cloud_region="eu", job="api"} 0 1"#,
            r#"x{job="api"} -15000 1"#,
            r#"x{job="api"} 0 2"#,
        ]
    );
}

#[test]
fn points_far_apart_have_target_info_at_their_times_only() {
    let fixture = Fixture::new(ingest::Options::default());
    let nanos = |ms: i64| (NOW + ms) * 1_000_000;
    let resources: Vec<_> = (0..20)
        .map(|i| {
            let (before, at) = (nanos(-14 * DAY + HOUR), nanos(0));
            format!(
                r#"{{"resource":{{"attributes":[{SERVICE},{{"key":"n","value":{{"intValue":"{i}"}}}}]}},
                "scopeMetrics":[{{"metrics":[{{"name":"x{i}","gauge":{{"dataPoints":[
                {{"timeUnixNano":"{before}","asInt":1}},{{"timeUnixNano":"{at}","asInt":2}}]}}}}]}}]}}"#
            )
        })
        .collect();
    let outcome = send(&fixture, &format!(r#"{{"resourceMetrics":[{}]}}"#, resources.join(",")));
    assert_eq!((outcome.samples, outcome.rejected), (20 * (2 + 2), 0));
    let stored = fixture.stored();
    assert_eq!(stored.len(), 20 * (2 + 2));
    assert!(stored.contains(&r#"x7{job="api"} 0 2"#.to_owned()), "{stored:?}");
}

#[test]
fn points_side_by_side_have_target_info_within_half_the_lookback() {
    let fixture = Fixture::new(ingest::Options::default());
    let region = r#"{"key":"cloud.region","value":{"stringValue":"eu"}}"#;
    let point = |n: i64| format!(r#"{{"timeUnixNano":"{}","asInt":1}}"#, (NOW - n * 15_000) * 1_000_000);
    let points: Vec<_> = (0..100).map(point).collect();
    let metrics = format!(r#"{{"name":"x","gauge":{{"dataPoints":[{}]}}}}"#, points.join(","));
    send(&fixture, &request(&format!("{SERVICE},{region}"), &metrics));
    let stored = fixture.stored();
    let mut times: Vec<i64> = stored
        .iter()
        .filter(|line| line.starts_with("target_info"))
        .map(|line| line.rsplit(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    times.sort_unstable();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 150_000), "{times:?}");
    assert_eq!((times[0], times[times.len() - 1]), (-99 * 15_000, 0));
    assert!(times.len() < 30, "{times:?}");
}

#[test]
fn a_bad_point_is_counted_once_and_its_neighbours_are_stored() {
    let good = r#"{"timeUnixNano":NOW,"count":"1","bucketCounts":["1"],"explicitBounds":[]}"#;
    let bad = [
        (r#"{"count":"1"}"#, "timestamp 0 is 57 years behind"),
        (r#"{"timeUnixNano":NOW,"bucketCounts":["1"],"explicitBounds":[1]}"#, "1 bounds but 1 buckets"),
        (
            r#"{"timeUnixNano":NOW,"bucketCounts":[1,1,1],"explicitBounds":[2,1]}"#,
            "histogram's bounds do not increase: 2 is before 1",
        ),
        (
            r#"{"timeUnixNano":NOW,"attributes":[{"key":"le","value":{"stringValue":"1"}}]}"#,
            r#"duplicate label "le""#,
        ),
    ];
    for (bad, words) in bad {
        let (outcome, stored) = stored(&format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{bad},{good}]}}}}"#
        ));
        assert_eq!(outcome.rejected, 1, "{words}");
        assert!(outcome.reasons[0].contains(words), "{:?}", outcome.reasons);
        assert!(stored.contains(&r#"h_count{job="api"} 0 1"#.to_owned()), "{stored:?}");
    }
}

#[test]
fn a_point_with_a_series_too_many_is_not_stored_at_all() {
    let numbers = |make: fn(usize) -> String| (0..120).map(make).collect::<Vec<_>>().join(",");
    let bounds = numbers(|n| n.to_string());
    let counts = numbers(|_| "1".to_owned());
    let quantiles = numbers(|n| format!(r#"{{"quantile":{n},"value":1}}"#));
    for metric in [
        format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":NOW,
            "count":121,"sum":9,"bucketCounts":[{counts},1],"explicitBounds":[{bounds}]}}]}}}}"#
        ),
        format!(
            r#"{{"name":"s","summary":{{"dataPoints":[{{"timeUnixNano":NOW,"count":2,"sum":3,
            "quantileValues":[{quantiles}]}}]}}}}"#
        ),
    ] {
        // The store of the fixture takes 100 series.
        let (outcome, stored) = stored(&metric);
        assert_eq!((outcome.samples, outcome.rejected), (0, 1), "{:?}", outcome.reasons);
        assert!(stored.is_empty(), "{stored:?}");
    }
}

#[test]
fn names_follow_the_configured_strategy() {
    let options = ingest::Options {
        otlp: Options { translation: TranslationStrategy::NoTranslation, ..Options::default() },
        ..ingest::Options::default()
    };
    let fixture = Fixture::new(options);
    let metric = r#"{"name":"a.b","unit":"s","gauge":{"dataPoints":[{"timeUnixNano":NOW,"asInt":1,
        "attributes":[{"key":"c.d","value":{"intValue":"7"}}]}]}}"#;
    send(&fixture, &request("", metric));
    assert_eq!(fixture.stored(), [r#"{__name__="a.b", "c.d"="7"} 0 1"#]);
}

#[test]
fn metadata_is_told_with_the_unit_in_words() {
    let fixture = Fixture::new(ingest::Options::default());
    let metric = r#"{"name":"io","unit":"By/s","description":"Bytes moved.","sum":{"isMonotonic":true,
        "aggregationTemporality":2,"dataPoints":[{"timeUnixNano":NOW,"asInt":1}]}}"#;
    send(&fixture, &request(SERVICE, metric));
    let (family, told) = &fixture.metadata()[0];
    assert_eq!((family.as_str(), told[0].metric_type), ("io_bytes_per_second_total", MetricType::Counter));
    assert_eq!((told[0].help.as_str(), told[0].unit.as_str()), ("Bytes moved.", "bytes_per_second"));
}

#[test]
fn protobuf_json_and_the_decoded_message_store_the_same() {
    let body = request(
        SERVICE,
        r#"{"name":"x","gauge":{"dataPoints":[{"timeUnixNano":NOW,"asDouble":1.5,
            "attributes":[{"key":"a","value":{"boolValue":true}}]}]}}"#,
    );
    let message = json::metrics::decode(body.as_bytes()).unwrap();
    let fixture = Fixture::new(ingest::Options::default());
    for (encoding, bytes) in [
        (Encoding::Identity, message.encode_to_vec()),
        (Encoding::Zstd, zstd::encode_all(&*message.encode_to_vec(), 1).unwrap()),
    ] {
        let done = fixture.completion();
        let outcome =
            fixture.ingest.otlp(Signal::Metrics, &bytes, encoding, BodyFormat::Protobuf, NOW, done).unwrap();
        assert_eq!(outcome.samples, 1);
    }
    send(&fixture, &body);
    assert_eq!(fixture.stored(), [r#"x{a="true", job="api"} 0 1.5"#]);
    assert_eq!(fixture.counter("icecore_ingest_samples_total", "otlp_metrics"), 3);
    assert_eq!(fixture.counter("icecore_ingest_series_cache_misses_total", ""), 1);
}

#[test]
fn values_nested_without_end_are_refused() {
    let mut value = Vec::new();
    for _ in 0..10_000 {
        // An AnyValue holding an ArrayValue holding the value so far.
        let mut list = vec![0x0A];
        prost::encoding::encode_varint(value.len() as u64, &mut list);
        list.append(&mut value);
        value.push(0x2A);
        prost::encoding::encode_varint(list.len() as u64, &mut value);
        value.append(&mut list);
    }
    // request 1 > resource 1 > attribute 1 > value 2.
    for tag in [0x12, 0x0A, 0x0A, 0x0A] {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.append(&mut value);
        value = outer;
    }
    let error = send_protobuf(&Fixture::new(ingest::Options::default()), &value).unwrap_err().to_string();
    assert!(
        error.starts_with("invalid protobuf at byte ") && error.contains("nested deeper than 90"),
        "{error}"
    );
}

#[test]
fn a_cut_body_is_refused_wherever_it_is_cut() {
    let body = request(SERVICE, r#"{"name":"x","gauge":{"dataPoints":[{"timeUnixNano":NOW,"asInt":1}]}}"#);
    let body = json::metrics::decode(body.as_bytes()).unwrap().encode_to_vec();
    let fixture = Fixture::new(ingest::Options::default());
    for cut in 1..body.len() {
        assert!(send_protobuf(&fixture, &body[..cut]).is_err(), "cut at {cut}");
    }
    assert!(fixture.stored().is_empty());
}

fn attribute(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
}

fn gauge_point(attributes: &[(&str, &str)]) -> String {
    let attributes: Vec<String> = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    format!(r#"{{"timeUnixNano":NOW,"asDouble":1,"attributes":[{}]}}"#, attributes.join(","))
}

fn gauge(points: &[String]) -> String {
    format!(r#"{{"name":"m","gauge":{{"dataPoints":[{}]}}}}"#, points.join(","))
}

#[test]
fn points_that_say_the_same_are_of_other_series_where_their_resources_differ() {
    let options = Options { promote_resource_attributes: vec!["zone".into()], ..Options::default() };
    let fixture = Fixture::new(ingest::Options { otlp: options, ..Default::default() });
    let resources = [("api", "a"), ("api", "b"), ("web", "a")];
    let body = |(service, zone): (&str, &str)| {
        let resource = format!("{},{}", attribute("service.name", service), attribute("zone", zone));
        request(&resource, &gauge(&[gauge_point(&[("k", "v")])]))
    };
    // Unknown, and known.
    for _ in 0..2 {
        resources.iter().for_each(|&resource| assert_eq!(send(&fixture, &body(resource)).rejected, 0));
    }
    let of_points: Vec<String> = fixture.stored().into_iter().filter(|line| line.starts_with("m{")).collect();
    assert_eq!(
        of_points,
        [
            r#"m{job="api", k="v", zone="a"} 0 1"#,
            r#"m{job="api", k="v", zone="b"} 0 1"#,
            r#"m{job="web", k="v", zone="a"} 0 1"#,
        ]
    );
}

#[test]
fn a_series_is_known_again_in_whatever_order_its_attributes_come() {
    let fixture = Fixture::new(ingest::Options::default());
    for attributes in [
        [("a.b", "2"), ("a_b", "1"), ("__name__", "other"), ("c", "3")],
        [("c", "3"), ("__name__", "other"), ("a_b", "1"), ("a.b", "2")],
    ] {
        assert_eq!(send(&fixture, &request(SERVICE, &gauge(&[gauge_point(&attributes)]))).rejected, 0);
    }
    assert_eq!(fixture.stored(), [r#"m{a_b="2;1", c="3", job="api"} 0 1"#]);
    assert_eq!(fixture.counter("icecore_ingest_series_cache_misses_total", ""), 1);
}

#[test]
fn a_point_that_is_refused_each_time_costs_its_neighbour_nothing() {
    let fixture = Fixture::new(ingest::Options::default());
    let long = "x".repeat(3_000);
    let body = request(SERVICE, &gauge(&[gauge_point(&[("k", &long)]), gauge_point(&[("k", "v")])]));
    for _ in 0..2 {
        let outcome = send(&fixture, &body);
        assert_eq!((outcome.samples, outcome.rejected), (1, 1), "{:?}", outcome.reasons);
    }
    assert_eq!(fixture.stored(), [r#"m{job="api", k="v"} 0 1"#]);
}

/// The body in protobuf, the second byte of this text being none of UTF-8's, and where that stands.
fn damaged(body: &str, text: &str) -> (Vec<u8>, usize) {
    let mut body = json::metrics::decode(body.as_bytes()).unwrap().encode_to_vec();
    let at = body.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap() + 1;
    body[at] = 0xFF;
    (body, at)
}

#[test]
fn attributes_that_are_no_texts_cost_their_point_and_nothing_else() {
    let fixture = Fixture::new(ingest::Options::default());
    let points = [gauge_point(&[("k", "bad")]), gauge_point(&[("k", "good")])];
    let (body, at) = damaged(&request(SERVICE, &gauge(&points)), "bad");
    // Unknown, and known to be refused.
    for _ in 0..2 {
        let outcome = send_protobuf(&fixture, &body).unwrap();
        assert_eq!((outcome.samples, outcome.rejected), (1, 1));
        let reason = format!("invalid protobuf at byte {at} of a series' labels: a text is not UTF-8");
        assert_eq!(outcome.reasons, [reason]);
    }
    assert_eq!(fixture.stored(), [r#"m{job="api", k="good"} 0 1"#]);
}

#[test]
fn a_metric_or_a_resource_that_is_no_text_refuses_the_request_at_its_byte() {
    let fixture = Fixture::new(ingest::Options::default());
    let metric = gauge(&[gauge_point(&[])])
        .replace(r#""name":"m""#, r#""name":"some.name","description":"what it is","unit":"{something}""#);
    for text in ["api", "some.name", "what it is", "{something}"] {
        let (body, at) = damaged(&request(SERVICE, &metric), text);
        let error = send_protobuf(&fixture, &body).unwrap_err().to_string();
        assert_eq!(error, format!("invalid protobuf at byte {at}: a text is not UTF-8"));
    }
    assert!(fixture.stored().is_empty());
}

#[test]
fn empty_messages_take_no_memory_that_they_do_not_pay_for() {
    let fixture = Fixture::new(ingest::Options::default());
    let sent = |around: &[u8], content: [u8; 2]| {
        let body = around.iter().rev().fold(content.repeat(100_000), |content, number| {
            let mut field = vec![number << 3 | 2];
            prost::encoding::encode_varint(content.len() as u64, &mut field);
            [field, content].concat()
        });
        send_protobuf(&fixture, &body)
    };
    let empty = |number: u8| [number << 3 | 2, 0];
    let refused = |around, content| sent(around, content).unwrap_err().to_string();
    // Points without a value, the attributes of a point, and those of a resource.
    assert_eq!(sent(&[1, 2, 2, 5], empty(1)).unwrap().rejected, 100_000);
    let error = refused(&[1, 2, 2, 5, 1], empty(7));
    assert!(error.ends_with("more than 65536 attributes or exemplars of one point"), "{error}");
    let error = refused(&[1, 1], empty(1));
    assert!(error.ends_with("more than 65536 messages in each other or of one list"), "{error}");
}

#[test]
fn an_exponential_histogram_has_so_many_buckets_and_no_more() {
    let fixture = Fixture::new(ingest::Options::default());
    let sent = |count: usize| {
        let counts = vec!["0"; count].join(",");
        let point = format!(r#"{{"timeUnixNano":NOW,"positive":{{"bucketCounts":[{counts}]}}}}"#);
        let metric = format!(
            r#"{{"name":"m","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{point}]}}}}"#
        );
        let (body, plain, format) = (request(SERVICE, &metric), Encoding::Identity, BodyFormat::Json);
        fixture.ingest.otlp(Signal::Metrics, body.as_bytes(), plain, format, NOW, fixture.completion())
    };
    assert_eq!(sent(1 << 16).unwrap().histograms, 1);
    let error = sent((1 << 16) + 1).unwrap_err().to_string();
    assert_eq!(error, "invalid JSON: more than 65536 buckets on one side of a point");
}

#[test]
fn the_values_of_one_key_are_joined_in_the_order_they_were_sent_in() {
    let fixture = Fixture::new(ingest::Options::default());
    for values in [["1", "2"], ["2", "1"]] {
        let point = gauge_point(&[("k", values[0]), ("a", "x"), ("k", values[1])]);
        assert_eq!(send(&fixture, &request(SERVICE, &gauge(&[point]))).rejected, 0);
    }
    assert_eq!(
        fixture.stored(),
        [r#"m{a="x", job="api", k="1;2"} 0 1"#, r#"m{a="x", job="api", k="2;1"} 0 1"#]
    );
}

#[test]
fn metrics_that_differ_in_what_their_names_are_made_of_are_other_series() {
    let fixture = Fixture::new(ingest::Options::default());
    let point = gauge_point(&[]).replace("asDouble", "startTimeUnixNano\":NOW,\"asDouble");
    let sum = |monotonic: &str| {
        format!(r#""sum":{{"aggregationTemporality":2,{monotonic}"dataPoints":[{point}]}}"#)
    };
    let metrics = [
        format!(r#"{{"name":"m","unit":"s","gauge":{{"dataPoints":[{point}]}}}}"#),
        format!(r#"{{"name":"m","unit":"By","gauge":{{"dataPoints":[{point}]}}}}"#),
        format!(r#"{{"name":"m","unit":"1","gauge":{{"dataPoints":[{point}]}}}}"#),
        format!(r#"{{"name":"m","unit":"1",{}}}"#, sum("")),
        format!(r#"{{"name":"m","unit":"1",{}}}"#, sum(r#""isMonotonic":true,"#)),
    ];
    for _ in 0..2 {
        assert_eq!(send(&fixture, &request(SERVICE, &metrics.join(","))).rejected, 0);
    }
    assert_eq!(
        fixture.stored(),
        ["m_bytes", "m_ratio", "m_seconds", "m_total", "m"].map(|name| format!(r#"{name}{{job="api"}} 0 1"#))
    );
    let mut told: Vec<String> = fixture.metadata().into_iter().map(|(family, _)| family).collect();
    told.sort();
    assert_eq!(told, ["m", "m_bytes", "m_ratio", "m_seconds", "m_total"]);
}

#[test]
fn the_values_of_thousands_of_attributes_of_one_key_are_joined_in_linear_time() {
    let fixture = Fixture::new(ingest::Options::default());
    let (value, count) = ("v".repeat(500), 10_000);
    let attributes = vec![attribute("k", &value); count].join(",");
    let body = request(&format!("{SERVICE},{attributes}"), &gauge(&[gauge_point(&[])]));
    // Copied for each of them it would be 25 gigabytes.
    let outcome = send(&fixture, &body);
    assert_eq!((outcome.samples, outcome.rejected), (1, 0), "{outcome:?}");
    assert!(outcome.reasons[0].contains("--limits.max-label-value"), "{outcome:?}");
}

#[test]
fn a_summary_of_too_many_quantiles_and_a_bound_that_is_no_number_refuse_their_point() {
    let fixture = Fixture::new(ingest::Options { histogram_buckets_max: 3, ..ingest::Options::default() });
    let summary = |count: usize| {
        let quantiles = vec![r#"{"quantile":0.5,"value":1}"#; count].join(",");
        format!(
            r#"{{"name":"s","summary":{{"dataPoints":[{{"timeUnixNano":NOW,"count":2,"sum":3,"quantileValues":[{quantiles}]}}]}}}}"#
        )
    };
    assert_eq!(send(&fixture, &request(SERVICE, &summary(3))).rejected, 0);
    let outcome = send(&fixture, &request(SERVICE, &summary(4)));
    assert_eq!(outcome.reasons, ["summary has 4 quantiles > 3 (--limits.max-histogram-buckets)"]);
    let histogram = r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
        {"timeUnixNano":NOW,"count":"3","sum":9,"bucketCounts":["1","2","0"],"explicitBounds":[1,"Infinity"]}]}}"#;
    let outcome = send(&fixture, &request(SERVICE, histogram));
    assert_eq!(outcome.reasons, ["a bound of a histogram is not finite: inf"]);
}

#[test]
fn all_series_of_a_histogram_and_a_summary_are_known_again() {
    let fixture = Fixture::new(ingest::Options::default());
    let metrics = r#"{"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":NOW,"count":"6","sum":9,"bucketCounts":["1","2","3"],"explicitBounds":[0.5,10]}]}},
        {"name":"s","summary":{"dataPoints":[{"timeUnixNano":NOW,"count":2,"sum":3,
            "quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":2}]}]}}"#;
    for _ in 0..2 {
        assert_eq!(send(&fixture, &request(SERVICE, metrics)).samples, 5 + 4);
    }
    assert_eq!(fixture.counter("icecore_ingest_series_cache_misses_total", ""), 5 + 4);
    assert_eq!(fixture.counter("icecore_ingest_series_cache_hits_total", ""), 5 + 4);
}
