//! Remote read, asked as Prometheus asks.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::proto::{self, Message, v1_request, v1_series};
use crate::common::remote_read::{EQ, Labels, NEQ, NRE, RE, SAMPLES, STREAMED, frames, query, read, samples};
use crate::common::{Server, now_ms};

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn write(server: &Server, series: &[Message]) {
    let answer = server.write(&v1_request(series));
    assert_eq!(answer.status, 204, "{}", answer.body);
}

/// Four series, one sample each.
fn with_four_series() -> (Server, i64) {
    let (server, now) = (Server::start(&[]), now_ms());
    let pairs = [("b", "x", "1"), ("a", "y", "2"), ("a", "x", "1"), ("c", "y", "")];
    let series = pairs.map(|(name, job, zone)| {
        let labels = [("__name__", name), ("job", job), ("zone", zone)];
        let len = if zone.is_empty() { 2 } else { 3 };
        v1_series(&labels[..len], &[(now, 1.0)])
    });
    write(&server, &series);
    (server, now)
}

#[test]
fn samples_come_back_to_the_bit_from_both_ends_of_the_range() {
    let (server, now) = (Server::start(&[]), now_ms());
    let bits = [1.5f64.to_bits(), STALE_NAN, 0x7ff8_0000_0000_0001, (-0.0f64).to_bits(), 7f64.to_bits()];
    let sent: Vec<(i64, u64)> = (0..).zip(bits).map(|(i, bits)| (now - 50 + i * 10, bits)).collect();
    let floats: Vec<_> = sent.iter().map(|(time, bits)| (*time, f64::from_bits(*bits))).collect();
    write(&server, &[v1_series(&[("__name__", "odd"), ("job", "x")], &floats)]);
    let range = (sent[1].0, sent[3].0);
    let answer = samples(&read(&server.url, &[query(&[(EQ, "__name__", "odd")], range)], &[]));
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].len(), 1);
    assert_eq!(answer[0][0].labels, labels(&[("__name__", "odd"), ("job", "x")]));
    assert_eq!(answer[0][0].floats, sent[1..4]);
}

#[test]
fn every_kind_of_matcher_selects_and_series_come_in_the_order_of_their_labels() {
    let (server, now) = with_four_series();
    let names = |matchers: &[(u64, &str, &str)]| {
        let answer = samples(&read(&server.url, &[query(matchers, (now - 1, now + 1))], &[SAMPLES]));
        let names = answer[0].iter().map(|series| format!("{}{}", series.labels[0].1, series.labels[1].1));
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&[(EQ, "job", "x")]), ["ax", "bx"]);
    assert_eq!(names(&[(NEQ, "job", "x"), (EQ, "__name__", "a")]), ["ay"]);
    assert_eq!(names(&[(RE, "__name__", "a|b")]), ["ax", "ay", "bx"]);
    assert_eq!(names(&[(NRE, "__name__", "a.*")]), ["bx", "cy"]);
    assert_eq!(names(&[(EQ, "zone", "")]), ["cy"]);
    assert_eq!(names(&[]), ["ax", "ay", "bx", "cy"]);
    assert_eq!(names(&[(EQ, "job", "nowhere")]), [""; 0]);
}

#[test]
fn each_query_of_a_request_has_its_answer() {
    let (server, now) = with_four_series();
    let of = |name| query(&[(EQ, "__name__", name)], (now, now));
    let asked = [of("b"), of("nothing"), of("a")];
    let answer = samples(&read(&server.url, &asked, &[SAMPLES]));
    assert_eq!(answer.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 2]);
    let streamed = frames(&read(&server.url, &asked, &[STREAMED, SAMPLES]));
    assert_eq!(streamed.iter().map(|frame| frame.query).collect::<Vec<_>>(), [0, 2, 2]);
    assert_eq!(streamed[0].labels, answer[0][0].labels);
    assert!(frames(&read(&server.url, &[of("nothing")], &[STREAMED])).is_empty());
}

#[test]
fn a_look_up_of_series_gets_their_labels_alone() {
    let (server, now) = with_four_series();
    let hints = Message::new().bytes(2, b"series").int(3, now).int(4, now);
    let asked = [query(&[(EQ, "__name__", "a")], (now, now)).message(4, hints)];
    let answer = samples(&read(&server.url, &asked, &[SAMPLES]));
    let streamed = frames(&read(&server.url, &asked, &[STREAMED]));
    let jobs = [("__name__", "a"), ("job", "x"), ("zone", "1")];
    assert_eq!((answer[0].len(), streamed.len()), (2, 2));
    assert_eq!((&answer[0][0].labels, &streamed[0].labels), (&labels(&jobs), &labels(&jobs)));
    assert!(answer[0].iter().all(|series| series.floats.is_empty()));
    assert!(streamed.iter().all(|frame| frame.chunks.is_empty()));
}

#[test]
fn a_stream_has_the_samples_in_chunks_of_120() {
    let (server, now) = (Server::start(&[]), now_ms());
    let sent: Vec<(i64, f64)> = (0..300).map(|i| (now - (299 - i) * 1_000, i as f64 / 7.0)).collect();
    write(&server, &[v1_series(&[("__name__", "long")], &sent)]);
    let asked = query(&[(EQ, "__name__", "long")], (sent[0].0, sent[289].0));
    let frames = frames(&read(&server.url, &[asked], &[STREAMED]));
    assert_eq!(frames.len(), 1);
    let told = frames[0].chunks.iter().map(|chunk| {
        let count = u16::from_be_bytes([chunk.data[0], chunk.data[1]]);
        (chunk.min_time, chunk.max_time, chunk.encoding, count)
    });
    let expected = [(0, 119, 120), (120, 239, 120), (240, 289, 50)];
    let expected = expected.map(|(from, to, count)| (sent[from].0, sent[to].0, 1, count));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn a_histogram_comes_back_as_the_message_it_was_sent_in() {
    let (server, now) = (Server::start(&[]), now_ms());
    let sent = [
        proto::histogram(now - 2_000, 2, 1),
        proto::histogram(now - 1_000, 3, 5),
        proto::histogram(now, 1, 0),
    ];
    let series = Message::new().message(1, Message::new().bytes(1, b"__name__").bytes(2, b"latency"));
    let series = sent.iter().fold(series, |series, histogram| series.message(4, histogram.clone()));
    write(&server, &[series]);
    let asked = [query(&[(EQ, "__name__", "latency")], (now - 2_000, now))];
    let answer = samples(&read(&server.url, &asked, &[SAMPLES]));
    // A schema of 0 need not be told.
    let told =
        |message: &[u8]| proto::fields(message).into_iter().filter(|field| field.0 != 4).collect::<Vec<_>>();
    let expected: Vec<_> = sent.iter().map(|message| told(&message.0)).collect();
    assert_eq!(answer[0][0].histograms.iter().map(|message| told(message)).collect::<Vec<_>>(), expected);
    // The last is a reset, which begins a chunk.
    let streamed = frames(&read(&server.url, &asked, &[STREAMED]));
    let told = streamed[0].chunks.iter().map(|chunk| (chunk.encoding, chunk.data[1]));
    assert_eq!(told.collect::<Vec<_>>(), [(2, 2), (2, 1)]);
}

#[test]
fn what_cannot_be_answered_is_refused_in_plain_text() {
    let server = Server::start(&["--query.max-samples", "10"]);
    let now = now_ms();
    let floats: Vec<_> = (0..20).map(|i| (now - i, 1.0)).rev().collect();
    write(&server, &[v1_series(&[("__name__", "many")], &floats)]);
    let all = |matcher| query(&[matcher], (now - 100, now));
    let unknown_matcher = all((9, "job", "x"));
    let refused = [
        (read(&server.url, &[all((EQ, "__name__", "many"))], &[SAMPLES]), "exceeded sample limit (10)"),
        (read(&server.url, &[all((EQ, "__name__", "many"))], &[STREAMED]), "exceeded sample limit (10)"),
        (read(&server.url, &[all((RE, "__name__", "("))], &[]), "error parsing regexp"),
        (read(&server.url, &[unknown_matcher], &[]), "invalid matcher type"),
        (read(&server.url, &[], &[5, 6]), "server does not support any of the requested response types"),
        (server.post("/api/v1/read", &[], "not snappy at all"), "snappy: corrupt input"),
        (server.post("/api/v1/read", &[], proto::snappy(b"\xff\xff\xff")), "proto: "),
        (
            server.post("/api/v1/read", &[], vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
            "decoded length 4294967295 exceeds",
        ),
    ];
    for (answer, text) in refused {
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, "text/plain; charset=utf-8"),
            "{text}"
        );
        assert!(answer.body.contains(text) && answer.body.ends_with('\n'), "{text}: {}", answer.body);
    }
    assert_eq!(server.get("/api/v1/read").status, 405);
    assert!(samples(&read(&server.url, &[], &[])).is_empty(), "no query, no answer");
}

/// A series of so many samples that do not compress.
fn with_noise(args: &[&str], count: i64) -> (Server, Message) {
    let (server, now) = (Server::start(args), now_ms());
    let noise = |i: i64| f64::from_bits((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    let floats: Vec<(i64, f64)> = (0..count).map(|i| (now - (count - i) * 7, noise(i))).collect();
    write(&server, &[v1_series(&[("__name__", "noise")], &floats)]);
    (server, query(&[(EQ, "__name__", "noise")], (0, now)))
}

#[test]
fn a_stream_may_be_longer_than_all_answers_together() {
    let limits = ["--query.max-response-bytes", "1MiB", "--query.max-responses-bytes", "1MiB"];
    let (server, noise) = with_noise(&limits, 10_000);
    let queries = vec![noise; 100];
    let answer = read(&server.url, &queries, &[STREAMED]);
    assert!(answer.bytes.len() > 4 << 20, "{}", answer.bytes.len());
    assert_eq!(frames(&answer).len(), 100);
    let whole = read(&server.url, &queries, &[SAMPLES]);
    assert_eq!(whole.status, 422, "{}", whole.body);
    assert!(whole.body.contains("--query.max-response-bytes"), "{}", whole.body);
    let memory = "icecore_http_answers_in_flight_bytes 0\n";
    wait_for(|| server.get("/metrics").body.contains(memory));
}

/// A client that asks for a thousand streams and receives none.
fn stalled_reader(server: &Server, noise: &Message) -> TcpStream {
    let message = (0..1_000).fold(Message::new(), |message, _| message.message(1, noise.clone()));
    let body = proto::snappy(&message.packed(2, [STREAMED]).0);
    let mut stalled = TcpStream::connect(server.address()).unwrap();
    let head = format!("POST /api/v1/read HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stalled.write_all(head.as_bytes()).unwrap();
    stalled.write_all(&body).unwrap();
    stalled
}

fn has_jobs(server: &Server, count: u32) -> bool {
    let line = format!("icecore_worker_jobs{{pool=\"query\"}} {count}\n");
    server.get("/metrics").body.contains(&line)
}

fn active_queries(server: &Server) -> String {
    server.get("/api/v1/status/active_queries").body
}

#[test]
fn a_reader_that_takes_nothing_loses_its_worker() {
    let (server, noise) = with_noise(&["--limits.stall-timeout", "3s"], 5_000);
    let stalled = stalled_reader(&server, &noise);
    wait_for(|| has_jobs(&server, 1));
    let listed = active_queries(&server);
    assert!(listed.contains("noise") && listed.contains("/api/v1/read"), "{listed}");
    wait_for(|| has_jobs(&server, 0));
    drop(stalled);
}

#[test]
fn readers_that_take_nothing_leave_workers_to_others_and_can_be_cancelled() {
    let limits = ["--limits.stall-timeout", "5m", "--query.max-concurrency", "2"];
    let (server, noise) = with_noise(&limits, 5_000);
    let stalled: Vec<TcpStream> = (0..3).map(|_| stalled_reader(&server, &noise)).collect();
    wait_for(|| has_jobs(&server, 1) && active_queries(&server).matches("/api/v1/read").count() == 3);
    assert_eq!(server.get("/api/v1/query?query=1").status, 200);
    // The one that runs and those that wait for their turn.
    for id in 1..=9 {
        server.post(&format!("/api/v1/admin/queries/{id}/cancel"), &[], "");
    }
    wait_for(|| !active_queries(&server).contains("/api/v1/read"));
    drop(stalled);
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to pass");
        std::thread::sleep(Duration::from_millis(20));
    }
}
