//! `/federate`, whose answers are those of Prometheus's own tests of it.

use crate::common::proto::{self, Message, all, fields, take, take_varint, v1_request, v1_series};
use crate::common::{Server, now_ms};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// The series of Prometheus's test, and the time of their newest samples.
fn with_series() -> (Server, i64) {
    let (server, now) = (Server::start(&[]), now_ms());
    let minute = 60_000;
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let newest = now - 1_000;
    let series = [
        (&[("__name__", "test_metric1"), ("foo", "bar"), ("instance", "i")][..], newest, 10_000.0),
        (&[("__name__", "test_metric1"), ("foo", "boo"), ("instance", "i")], newest, 1.0),
        (&[("__name__", "test_metric2"), ("foo", "boo"), ("instance", "i")], newest, 1.0),
        (&[("__name__", "test_metric_without_labels")], newest, 1_001.0),
        (&[("__name__", "test_metric_stale")], newest, stale),
        (&[("__name__", "test_metric_old")], newest - 2 * minute, 981.0),
        (&[("__name__", "test_metric_gone")], newest - 6 * minute, 981.0),
    ];
    let messages =
        series.map(|(labels, time, value)| v1_series(labels, &[(time - minute, 7.0), (time, value)]));
    assert_eq!(server.write(&v1_request(&messages)).status, 204);
    (server, newest)
}

#[test]
fn the_newest_samples_are_shown_as_prometheus_shows_them() {
    let (server, t) = with_series();
    let old = t - 120_000;
    let metric1 = format!(
        "# TYPE test_metric1 untyped\n\
         test_metric1{{foo=\"bar\",instance=\"i\"}} 10000 {t}\n\
         test_metric1{{foo=\"boo\",instance=\"i\"}} 1 {t}\n"
    );
    let boo1 = format!("# TYPE test_metric1 untyped\ntest_metric1{{foo=\"boo\",instance=\"i\"}} 1 {t}\n");
    let metric2 = format!("# TYPE test_metric2 untyped\ntest_metric2{{foo=\"boo\",instance=\"i\"}} 1 {t}\n");
    let metric_old = format!("# TYPE test_metric_old untyped\ntest_metric_old{{instance=\"\"}} 981 {old}\n");
    let without = format!(
        "# TYPE test_metric_without_labels untyped\ntest_metric_without_labels{{instance=\"\"}} 1001 {t}\n"
    );
    for (parameters, page) in [
        ("", String::new()),
        ("match[]=does_not_match_anything", String::new()),
        ("match[]=test_metric1", metric1.clone()),
        ("match[]=test_metric_stale", String::new()),
        ("match[]=test_metric_gone", String::new()),
        ("match[]=test_metric_old", metric_old.clone()),
        ("match[]=%7Bfoo='boo'%7D", format!("{boo1}{metric2}")),
        ("match[]=test_metric2&match[]=test_metric1", format!("{metric1}{metric2}")),
        ("match[]=%7B__name__=~'test_metric1'%7D&match[]=%7Bfoo='bar'%7D", metric1.clone()),
        ("match[]=%7B__name__=~'.%2b'%7D", format!("{metric1}{metric2}{metric_old}{without}")),
        ("match[]=%7B%7D", format!("{metric1}{metric2}{metric_old}{without}")),
        ("match[]=%7Bfoo='',__name__=~'.%2b'%7D", format!("{metric_old}{without}")),
    ] {
        let answer = server.get(&format!("/federate?{parameters}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, TEXT), "{parameters}");
        assert_eq!(answer.body, page, "{parameters}");
    }
}

#[test]
fn bad_selectors_are_refused_in_plain_text() {
    let server = Server::start(&[]);
    for (parameters, text) in [
        ("match[]=-not-a-valid-metric-name", "1:1: parse error: unexpected <op:->\n"),
        ("match[]=up&match[]=not-a-valid-metric-name", "1:4: parse error: unexpected <op:->\n"),
    ] {
        let answer = server.get(&format!("/federate?{parameters}"));
        assert_eq!((answer.status, answer.header("content-type")), (400, "text/plain; charset=utf-8"));
        assert_eq!(answer.body, text);
    }
    assert_eq!(server.post("/federate", &[], "match[]=up").status, 405);
}

#[test]
fn native_histograms_are_shown_to_who_takes_protobuf() {
    let (server, now) = (Server::start(&[]), now_ms());
    let name = Message::new().bytes(1, b"__name__").bytes(2, b"latency");
    let series = Message::new().message(1, name).message(4, proto::histogram(now, 2, 1));
    assert_eq!(server.write(&v1_request(&[series])).status, 204);
    let path = "/federate?match[]=latency";
    assert_eq!(server.get(path).body, "", "text has no place for them");

    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let url = format!("{}{path}", server.url);
    let answer = crate::common::request("GET", &url, &[("accept", protobuf)], Vec::new());
    assert!(answer.header("content-type").starts_with("application/vnd.google.protobuf; proto="));
    let mut rest = &answer.bytes[..];
    let len = take_varint(&mut rest) as usize;
    let family = fields(take(&mut rest, len));
    assert!(rest.is_empty(), "one family");
    assert_eq!(all(&family, 1).next().unwrap().text(), "latency");
    let metric = fields(all(&family, 4).next().unwrap().bytes());
    assert_eq!(proto::int(&metric, 6), now);
    let histogram = fields(all(&metric, 7).next().unwrap().bytes());
    let double = |number| f64::from_bits(proto::int(&histogram, number) as u64);
    assert_eq!((double(4), double(2)), (3.0, 5.0), "count and sum");
}
