//! Senders that keep a ledger of what they sent and what was acknowledged, and the comparison with what is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Server, encode, now_ms, proto};

const SERIES: usize = 20;
const STEP_MS: i64 = 20;
/// Every so many requests bring a sample from the past along, and one that was sent before.
const LATE_EVERY: usize = 7;

/// A generator of numbers that one seed determines.
pub struct Random(u64);

impl Random {
    /// From `ICECORE_SEED`, or new each time; printed, so that a failure can be repeated as far as time allows.
    pub fn of_this_run(test: &str) -> Random {
        let seed = std::env::var("ICECORE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(now_ms() as u64);
        println!("{test}: seed {seed}");
        Random(seed)
    }

    pub fn from(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One sender with series of its own. All of them share their timestamps.
pub struct Sender {
    name: String,
    base_ms: i64,
    /// Timestamp → whether a request that holds it was acknowledged.
    sent: BTreeMap<i64, bool>,
    /// The last request, if no answer came: it is sent again, as Prometheus would.
    unanswered: Option<Vec<i64>>,
    requests: usize,
}

/// What a comparison found.
#[derive(Default, Debug, Clone, Copy)]
pub struct Figures {
    pub acknowledged: u64,
    /// Sent and stored, though nobody said so.
    pub unacknowledged: u64,
}

impl Sender {
    pub fn new(number: usize) -> Sender {
        Sender {
            name: format!("sender-{number}"),
            base_ms: now_ms() - 3_600_000,
            sent: BTreeMap::new(),
            unanswered: None,
            requests: 0,
        }
    }

    /// Sends until `stop`, or until nobody answers any more.
    pub fn run(&mut self, url: &str, stop: &AtomicBool, acknowledged: &AtomicU64) {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        let agent = ureq::Agent::from(config);
        while !stop.load(Ordering::Relaxed) {
            let times = self.unanswered.take().unwrap_or_else(|| self.next_times());
            times.iter().for_each(|&t| _ = self.sent.entry(t).or_insert(false));
            let mut request = agent.post(format!("{url}/api/v1/write"));
            for (name, value) in proto::V1_HEADERS {
                request = request.header(name, value);
            }
            match request.send(proto::snappy(&self.body(&times))).map(|answer| answer.status().as_u16()) {
                Ok(204) => {
                    acknowledged.fetch_add((times.len() * SERIES) as u64, Ordering::Relaxed);
                    self.sent.extend(times.iter().map(|&t| (t, true)));
                }
                Ok(status @ (429 | 500 | 503)) => {
                    assert_ne!(status, 500, "a refusal says when to come back");
                    self.unanswered = Some(times);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(status) => panic!("answered {status}"),
                Err(_) => {
                    self.unanswered = Some(times);
                    return;
                }
            }
        }
    }

    fn next_times(&mut self) -> Vec<i64> {
        let at = |n: usize| self.base_ms + n as i64 * STEP_MS;
        let mut times = vec![at(self.requests)];
        if self.requests % LATE_EVERY == LATE_EVERY - 1 {
            let before = self.requests - self.requests / 2;
            times.extend([at(before) + STEP_MS / 2, at(before)]);
        }
        self.requests += 1;
        times
    }

    fn body(&self, times: &[i64]) -> Vec<u8> {
        let series = (0..SERIES).map(|n| {
            let samples: Vec<(i64, f64)> = times.iter().map(|&t| (t, value(n, t))).collect();
            let number = n.to_string();
            proto::v1_series(&[("__name__", "m"), ("n", &number), ("sender", &self.name)], &samples)
        });
        proto::v1_request(&series.collect::<Vec<_>>())
    }

    /// Panics unless every acknowledged sample is there with its bits, none that was not sent, and none twice.
    pub fn compare(&self, server: &Server) -> Figures {
        let selector = format!("m{{sender=\"{}\"}}[3h]", self.name);
        let found = matrix(&server.query(&selector, now_ms() + 60_000));
        let counts = server.query(&format!("count_over_time({selector})"), now_ms() + 60_000);
        let mut figures = Figures::default();
        for n in 0..SERIES {
            let series = format!("\"n\":\"{n}\",");
            let points =
                found.iter().find(|(labels, _)| labels.contains(&series)).map(|(_, points)| &points[..]);
            let points = points.unwrap_or_default();
            assert!(points.is_sorted_by(|a, b| a.0 < b.0), "{} {n}: a timestamp comes twice", self.name);
            for &(t, bits) in points {
                assert!(self.sent.contains_key(&t), "{} {n}: nobody sent a sample at {t}", self.name);
                assert_eq!(bits, value(n, t).to_bits(), "{} {n}: another value at {t}", self.name);
            }
            let there: std::collections::BTreeSet<i64> = points.iter().map(|p| p.0).collect();
            let lost: Vec<_> = self.sent.iter().filter(|(t, acked)| **acked && !there.contains(t)).collect();
            assert!(
                lost.is_empty(),
                "{} {n}: {} of {} lost: {lost:?}",
                self.name,
                lost.len(),
                self.sent.len()
            );
            let acknowledged = self.sent.values().filter(|acked| **acked).count() as u64;
            figures.acknowledged += acknowledged;
            figures.unacknowledged += points.len() as u64 - acknowledged;
            assert!(
                points.is_empty() || counts.contains(&format!("{series}\"sender\":\"{}\"}}", self.name)),
                "{counts}"
            );
        }
        let counted: u64 = vector_values(&counts).iter().sum();
        assert_eq!(counted, figures.acknowledged + figures.unacknowledged, "counted otherwise than listed");
        figures
    }
}

/// The value of series `n` at a time: any sign and fraction, exponents around 0.
fn value(n: usize, t: i64) -> f64 {
    let mixed = (t as u64 ^ (n as u64) << 48).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = mixed ^ mixed >> 29;
    let exponent = 0x3E0 + (mixed >> 52 & 0x3F);
    f64::from_bits(mixed & !(0x7FF << 52) | exponent << 52)
}

/// Labels (as JSON) and points of each series of a matrix.
fn matrix(body: &str) -> Vec<(String, Vec<(i64, u64)>)> {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    assert_eq!(json["status"], "success", "{body}");
    assert!(json["warnings"].is_null(), "{}", json["warnings"]);
    let series = json["data"]["result"].as_array().unwrap();
    let point = |p: &serde_json::Value| {
        let value: f64 = p[1].as_str().unwrap().parse().unwrap();
        ((p[0].as_f64().unwrap() * 1000.0).round() as i64, value.to_bits())
    };
    let points = |s: &serde_json::Value| s["values"].as_array().unwrap().iter().map(point).collect();
    series.iter().map(|s| (s["metric"].to_string(), points(s))).collect()
}

fn vector_values(body: &str) -> Vec<u64> {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    let series = json["data"]["result"].as_array().unwrap();
    series.iter().map(|s| s["value"][1].as_str().unwrap().parse().unwrap()).collect()
}

/// A counter of the server itself.
pub fn counter(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").body;
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Asks for a seal or a merge now and then, until `stop` or until nobody answers.
pub fn maintain(url: &str, stop: &AtomicBool, random: &mut Random) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20 + random.below(150)));
        let task = if random.below(3) == 0 { "compact" } else { "flush" };
        let answer = ureq::post(format!("{url}/api/v1/admin/{}", encode(task))).send_empty();
        if matches!(answer, Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed)) {
            return;
        }
    }
}
