//! Senders that keep a ledger of what they sent and what was acknowledged, and the comparison with what is there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Server, encode, now_ms};

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

/// One sender with rows of its own. All of them share their timestamps.
pub struct Sender {
    rows: Box<dyn Rows>,
    base_ms: i64,
    /// Timestamp → whether a request that holds it was acknowledged.
    sent: Ledger,
    /// The last request, if no answer came: it is sent again, as Prometheus would.
    unanswered: Option<Vec<i64>>,
    requests: usize,
    /// When a timestamp was acknowledged first.
    acknowledged_ms: BTreeMap<i64, i64>,
}

pub type Ledger = BTreeMap<i64, bool>;

/// What a sender sends of a signal: some rows for each timestamp.
pub trait Rows: Send {
    fn request(&self, times: &[i64]) -> Request;

    fn rows_per_time(&self) -> u64;

    /// Panics unless every acknowledged row is there as it was sent, and none that was not sent.
    fn compare(&self, sent: &Ledger, server: &Server) -> Figures;
}

pub struct Request {
    pub path: &'static str,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
}

/// What a comparison found.
#[derive(Default, Debug, Clone, Copy)]
pub struct Figures {
    pub acknowledged: u64,
    /// Sent and stored, though nobody said so.
    pub unacknowledged: u64,
}

impl Sender {
    pub fn new(rows: Box<dyn Rows>) -> Sender {
        Sender {
            rows,
            base_ms: now_ms() - 3_600_000,
            sent: Ledger::new(),
            unanswered: None,
            requests: 0,
            acknowledged_ms: BTreeMap::new(),
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
            let Request { path, headers, body } = self.rows.request(&times);
            let mut request = agent.post(format!("{url}{path}"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            match request.send(&body[..]).map(|answer| answer.status().as_u16()) {
                Ok(200 | 204) => {
                    let rows = times.len() as u64 * self.rows.rows_per_time();
                    acknowledged.fetch_add(rows, Ordering::Relaxed);
                    self.sent.extend(times.iter().map(|&t| (t, true)));
                    let now = now_ms();
                    times.iter().for_each(|&t| _ = self.acknowledged_ms.entry(t).or_insert(now));
                }
                Ok(status @ (429 | 500 | 503)) => {
                    assert_ne!(status, 500, "a refusal says when to come back");
                    self.unanswered = Some(times);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(status) => panic!("{path} answered {status}"),
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

    /// Takes what was acknowledged within these milliseconds of the clock as not acknowledged.
    pub fn doubt(&mut self, within: RangeInclusive<i64>) {
        let doubtful = self.acknowledged_ms.iter().filter(|(_, at)| within.contains(at));
        self.sent.extend(doubtful.map(|(&t, _)| (t, false)));
    }

    /// See [`Rows::compare`].
    pub fn compare(&self, server: &Server) -> Figures {
        self.rows.compare(&self.sent, server)
    }
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
