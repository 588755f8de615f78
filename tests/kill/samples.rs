//! Samples by remote write: each is there with its bits, and once.

use crate::common::{Server, now_ms, proto};
use crate::load::{Figures, Ledger, Request, Rows};

const SERIES: usize = 20;

pub struct Samples {
    sender: String,
}

impl Samples {
    pub fn new(number: usize) -> Samples {
        Samples { sender: format!("sender-{number}") }
    }
}

impl Rows for Samples {
    fn request(&self, times: &[i64]) -> Request {
        let series = (0..SERIES).map(|n| {
            let samples: Vec<(i64, f64)> = times.iter().map(|&t| (t, value(n, t))).collect();
            let number = n.to_string();
            proto::v1_series(&[("__name__", "m"), ("n", &number), ("sender", &self.sender)], &samples)
        });
        let body = proto::v1_request(&series.collect::<Vec<_>>());
        Request { path: "/api/v1/write", headers: proto::V1_HEADERS.to_vec(), body: proto::snappy(&body) }
    }

    fn rows_per_time(&self) -> u64 {
        SERIES as u64
    }

    fn compare(&self, sent: &Ledger, server: &Server) -> Figures {
        let selector = format!("m{{sender=\"{}\"}}[3h]", self.sender);
        let found = matrix(&server.query(&selector, now_ms() + 60_000));
        let counts = server.query(&format!("count_over_time({selector})"), now_ms() + 60_000);
        let mut figures = Figures::default();
        for n in 0..SERIES {
            let series = format!("\"n\":\"{n}\",");
            let points =
                found.iter().find(|(labels, _)| labels.contains(&series)).map(|(_, points)| &points[..]);
            let points = points.unwrap_or_default();
            assert!(points.is_sorted_by(|a, b| a.0 < b.0), "{} {n}: a timestamp comes twice", self.sender);
            for &(t, bits) in points {
                assert!(sent.contains_key(&t), "{} {n}: nobody sent a sample at {t}", self.sender);
                assert_eq!(bits, value(n, t).to_bits(), "{} {n}: another value at {t}", self.sender);
            }
            let there: std::collections::BTreeSet<i64> = points.iter().map(|p| p.0).collect();
            let lost: Vec<_> = sent.iter().filter(|(t, acked)| **acked && !there.contains(t)).collect();
            assert!(lost.is_empty(), "{} {n}: {} of {} lost: {lost:?}", self.sender, lost.len(), sent.len());
            let acknowledged = sent.values().filter(|acked| **acked).count() as u64;
            figures.acknowledged += acknowledged;
            figures.unacknowledged += points.len() as u64 - acknowledged;
            assert!(
                points.is_empty() || counts.contains(&format!("{series}\"sender\":\"{}\"}}", self.sender)),
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
