//! A scrape target that knows what it exposes: everything is a function of how often a page was scraped before, and the
//! page says that number. So a stored sample can be held against what was exposed at its time.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::common::now_ms;
use crate::common::proto::{Message, zigzagged};

/// The text format, timestamps left to the scraper.
pub const TEXT: usize = 0;
/// The text format with timestamps.
pub const TIMED: usize = 1;
/// The protobuf format, which alone has native histograms.
pub const PROTOBUF: usize = 2;
pub const PAGES: [&str; 3] = ["text", "timed", "protobuf"];

pub struct Exporter {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    first_scrape_ms: OnceLock<i64>,
    scrapes: [AtomicU64; 3],
    stops: AtomicBool,
}

impl Exporter {
    pub fn start() -> Exporter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if served.stops.load(Ordering::SeqCst) {
                    return;
                }
                // A scraper that hangs up has its reasons; it asks again.
                let _ = served.serve(connection.unwrap());
            }
        });
        Exporter { address, shared, thread: Some(thread) }
    }

    /// How often the page was scraped; the last scrape exposed this number.
    pub fn scrapes(&self, page: usize) -> u64 {
        self.shared.scrapes[page].load(Ordering::SeqCst)
    }

    /// When the timed samples and exemplars of a scrape happened, as the pages say.
    pub fn exposed_at_ms(&self, number: u64) -> i64 {
        self.shared.exposed_at_ms(number)
    }

    /// Answers no more: connections are refused.
    pub fn stop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // The thread waits for a connection.
            let _ = TcpStream::connect(self.address);
            thread.join().unwrap();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Later than the scraper's start, because it sends nothing that is older.
    fn exposed_at_ms(&self, number: u64) -> i64 {
        self.first_scrape_ms.get_or_init(now_ms) + 1_000 + number as i64 * 10
    }

    fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut request = String::new();
        let mut reader = BufReader::new(connection.try_clone()?);
        while reader.read_line(&mut request)? > 2 {}
        let page = PAGES.iter().position(|page| request.starts_with(&format!("GET /{page} "))).unwrap();
        let number = self.scrapes[page].fetch_add(1, Ordering::SeqCst) + 1;
        let (content_type, body) = match page {
            TEXT => ("text/plain; version=0.0.4", text(number)),
            TIMED => ("text/plain; version=0.0.4", timed(number, self.exposed_at_ms(number))),
            _ => (PROTOBUF_TYPE, protobuf(number, self.exposed_at_ms(number))),
        };
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        connection.write_all(&body)
    }
}

const PROTOBUF_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

const TEXT_HEAD: &str = "\
# HELP exporter_scrapes_total How often this page was scraped.
# TYPE exporter_scrapes_total counter
# HELP exporter_odd A value that is easily \\\\ spoilt.
# TYPE exporter_odd gauge
# TYPE exporter_sizes histogram
# TYPE exporter_quantiles summary
";

/// Each sample of scrape `number` of the text page: the name, the labels as in the text, the value.
pub fn text_samples(number: u64) -> Vec<(String, f64)> {
    let n = number as f64;
    let mut samples = vec![
        ("exporter_scrapes_total".to_owned(), n),
        ("exporter_untyped".to_owned(), n / 3.0),
        (r#"exporter_odd{kind="NaN"}"#.to_owned(), f64::NAN),
        (r#"exporter_odd{kind="infinite"}"#.to_owned(), f64::INFINITY),
        (r#"exporter_odd{kind="minus infinite"}"#.to_owned(), f64::NEG_INFINITY),
        (r#"exporter_odd{kind="minus zero"}"#.to_owned(), -0.0),
        (r#"exporter_odd{kind="least"}"#.to_owned(), f64::from_bits(number)),
        (r#"exporter_odd{kind="greatest"}"#.to_owned(), f64::MAX),
        (
            r#"exporter_odd{kind="jumping"}"#.to_owned(),
            if number.is_multiple_of(3) { -1e300 } else { 1e-300 },
        ),
        (r#"exporter_odd{kind="größe \"quoted\" C:\\n\nnew line"}"#.to_owned(), n * 1e15 + 1.0),
        (r#"exporter_sizes_bucket{le="0.1"}"#.to_owned(), n),
        (r#"exporter_sizes_bucket{le="+Inf"}"#.to_owned(), 2.0 * n),
        ("exporter_sizes_sum".to_owned(), 0.1 * n),
        ("exporter_sizes_count".to_owned(), 2.0 * n),
        (r#"exporter_quantiles{quantile="0.5"}"#.to_owned(), 0.3 * n),
        ("exporter_quantiles_sum".to_owned(), 0.7 * n),
        ("exporter_quantiles_count".to_owned(), n),
    ];
    if is_exposed_sometimes(number) {
        samples.push(("exporter_sometimes".to_owned(), n));
    }
    samples
}

/// Whether this scrape has `exporter_sometimes`: it is gone for two scrapes and then back for two.
pub fn is_exposed_sometimes(number: u64) -> bool {
    number % 4 < 2
}

fn text(number: u64) -> Vec<u8> {
    let lines = text_samples(number).into_iter().map(|(series, value)| format!("{series} {value}\n"));
    (TEXT_HEAD.to_owned() + &lines.collect::<String>()).into_bytes()
}

fn timed(number: u64, time_ms: i64) -> Vec<u8> {
    format!("exporter_scrapes_total {number} {time_ms}\nexporter_half {} {time_ms}\n", number as f64 / 2.0)
        .into_bytes()
}

/// The families of the protobuf page, each a message behind its length.
fn protobuf(number: u64, time_ms: i64) -> Vec<u8> {
    const COUNTER: u64 = 0;
    const HISTOGRAM: u64 = 4;
    let counter = Message::new().double(1, number as f64).message(2, exemplar(number, time_ms));
    let families = [
        family("exporter_scrapes_total", COUNTER, Message::new().message(3, counter)),
        family("exporter_latency", HISTOGRAM, Message::new().message(7, integer_histogram(number))),
        family("exporter_share", HISTOGRAM, Message::new().message(7, float_histogram(number))),
    ];
    let mut body = Vec::new();
    for family in families {
        prost::encoding::encode_varint(family.0.len() as u64, &mut body);
        body.extend(family.0);
    }
    body
}

fn family(name: &str, kind: u64, metric: Message) -> Message {
    Message::new()
        .bytes(1, name.as_bytes())
        .bytes(2, format!("The help of {name}.").as_bytes())
        .varint(3, kind)
        .message(4, metric)
}

fn exemplar(number: u64, time_ms: i64) -> Message {
    let trace = format!("{number:032x}");
    Message::new()
        .message(1, Message::new().bytes(1, b"trace_id").bytes(2, trace.as_bytes()))
        .double(2, number as f64 / 8.0)
        .message(3, Message::new().int(1, time_ms / 1_000).int(2, time_ms % 1_000 * 1_000_000))
}

fn span(offset: i64, length: u64) -> Message {
    Message::new().zigzag(1, offset).varint(2, length)
}

/// Schema 0: bucket `i` is (2^(i-1), 2^i].
fn integer_histogram(number: u64) -> Message {
    let n = number as i64;
    let positive = Message::new().message(12, span(1, 2)).message(12, span(2, 1));
    let mut histogram = Message::new()
        .varint(1, 4 * number + 10)
        .double(2, 1.5 * number as f64)
        .zigzag(5, 0)
        .double(6, 0.001)
        .varint(7, 7)
        .message(9, span(0, 1))
        .packed(10, zigzagged(&[n]));
    histogram.0.extend(positive.0);
    histogram.packed(13, zigzagged(&[n, n, 3 - 2 * n]))
}

/// What the query API shows of [`integer_histogram`].
pub fn integer_histogram_shown(number: u64) -> Value {
    let count = |count: u64| count.to_string();
    json!({
        "count": count(4 * number + 10),
        "sum": (1.5 * number as f64).to_string(),
        "buckets": [
            [1, "-1", "-0.5", count(number)],
            [3, "-0.001", "0.001", "7"],
            [0, "1", "2", count(number)],
            [0, "2", "4", count(2 * number)],
            [0, "16", "32", "3"],
        ],
    })
}

fn float_histogram(number: u64) -> Message {
    let n = number as f64;
    Message::new()
        .double(4, 1.75 * n)
        .double(2, n)
        .zigzag(5, 0)
        .double(6, 0.001)
        .double(8, 0.25 * n)
        .message(12, span(0, 2))
        .packed_doubles(14, &[0.5 * n, n])
}

/// What the query API shows of [`float_histogram`].
pub fn float_histogram_shown(number: u64) -> Value {
    let n = number as f64;
    let text = |value: f64| value.to_string();
    json!({
        "count": text(1.75 * n),
        "sum": text(n),
        "buckets": [
            [3, "-0.001", "0.001", text(0.25 * n)],
            [0, "0.5", "1", text(0.5 * n)],
            [0, "1", "2", text(n)],
        ],
    })
}
