//! Kept answers: a range query again is not evaluated again, sees what came meanwhile, and can pass the cache by.

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};

use crate::common::{Server, encode, now_ms, proto, request};

/// How many range queries asked the cache, by what came of it.
fn asked(server: &Server) -> [u64; 3] {
    let metrics = server.get("/metrics").body;
    ["hit", "partial", "miss"].map(|result| {
        let name = format!("icecore_range_cache_requests_total{{result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    })
}

/// A server that writes nothing itself, and the time of the first of its samples, which are 10 s apart.
fn server_with_data(args: &[&str]) -> (Server, i64) {
    let server = Server::start(&[args, &["--self-scrape", "off"]].concat());
    let start = now_ms() / 60_000 * 60_000 - 600_000;
    let samples: Vec<(i64, f64)> = (0..30).map(|i| (start + i * 10_000, i as f64)).collect();
    assert_eq!(server.write(&proto::v1(&[("__name__", "m_total")], &samples)).status, 204);
    (server, start)
}

fn ask(server: &Server, start: i64, seconds: i64, more: &str) -> String {
    let query = encode("sum(rate(m_total[1m]))");
    let (from, to) = (start / 1_000 + 60, start / 1_000 + seconds);
    let answer =
        server.get(&format!("/api/v1/query_range?query={query}&start={from}&end={to}&step=10{more}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn an_answer_is_given_again_until_a_sample_changes_it() {
    let (server, start) = server_with_data(&[]);
    let first = ask(&server, start, 200, "");
    assert!(first.contains("\"0.1\""), "{first}");
    assert_eq!(ask(&server, start, 200, ""), first);
    assert_eq!(asked(&server), [1, 0, 1]);

    // A form is asked for as well, and the limit is no part of the question.
    let (from, to) = (start / 1_000 + 60, start / 1_000 + 200);
    let form = format!("query=sum(rate(m_total[1m]))&start={from}&end={to}&step=10&limit=5");
    assert_eq!(server.post_form("/api/v1/query_range", &form).body, first);
    assert_eq!(asked(&server), [2, 0, 1]);

    // The range goes on.
    assert_eq!(ask(&server, start, 220, ""), ask(&server, start, 220, "&nocache=1"));
    assert_eq!(asked(&server), [2, 1, 1]);

    // Late, and seen at once.
    let late = [(start + 105_000, 1_000.0)];
    assert_eq!(server.write(&proto::v1(&[("__name__", "m_total"), ("x", "y")], &late)).status, 204);
    assert_eq!(server.write(&proto::v1(&[("__name__", "m_total")], &late)).status, 204);
    let changed = ask(&server, start, 220, "");
    assert_ne!(changed, first);
    assert_eq!(changed, ask(&server, start, 220, "&nocache=1"));
    assert_eq!(asked(&server), [2, 2, 1]);
}

#[test]
fn who_wants_no_cache_and_who_wants_statistics_passes_it_by() {
    let (server, start) = server_with_data(&[]);
    for more in ["&nocache=1", "&nocache=true", "&stats=all"] {
        ask(&server, start, 200, more);
        ask(&server, start, 200, more);
    }
    assert_eq!(asked(&server), [0, 0, 0]);
    let url =
        format!("/api/v1/query_range?query=m_total&start={0}&end={0}&step=10&nocache=maybe", start / 1_000);
    assert_eq!(server.get(&url).status, 400);
}

#[test]
fn a_cache_of_no_bytes_is_none() {
    let (server, start) = server_with_data(&["--query.cache-bytes", "0"]);
    assert_eq!(ask(&server, start, 200, ""), ask(&server, start, 200, ""));
    assert_eq!(asked(&server), [0, 0, 0]);
}

#[test]
fn a_long_answer_is_the_same_each_time_and_however_it_is_packed() {
    let server = Server::start(&[]);
    let start = now_ms() / 60_000 * 60_000 - 600_000;
    for job in ["a", "b", "c"] {
        let samples: Vec<(i64, f64)> = (0..40).map(|i| (start + i * 10_000, i as f64 / 7.0)).collect();
        assert_eq!(server.write(&proto::v1(&[("__name__", "m"), ("job", job)], &samples)).status, 204);
    }
    let (from, to) = (start as f64 / 1_000.0, start as f64 / 1_000.0 + 390.0);
    let url = format!("/api/v1/query_range?query={}&start={from}&end={to}&step=0.05", encode("m * 3.3"));
    let first = server.get(&url);
    // More than one piece of a kept text (half a mebibyte).
    assert!(first.status == 200 && first.bytes.len() > 600_000, "{}", first.bytes.len());
    assert_eq!(server.get(&url).bytes, first.bytes);
    for packed in ["gzip", "deflate"] {
        let answer =
            request("GET", &format!("{}{url}", server.url), &[("accept-encoding", packed)], Vec::new());
        assert_eq!((answer.status, answer.header("content-encoding")), (200, packed));
        let mut plain = Vec::new();
        match packed {
            "gzip" => GzDecoder::new(&answer.bytes[..]).read_to_end(&mut plain).unwrap(),
            _ => ZlibDecoder::new(&answer.bytes[..]).read_to_end(&mut plain).unwrap(),
        };
        assert!(plain == first.bytes && answer.bytes.len() < plain.len() / 3, "{packed}");
    }
    assert_eq!(asked(&server), [3, 0, 1]);
}
