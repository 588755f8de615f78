//! Spans by OTLP/HTTP: each trace is there whole, each span once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::Server;
use crate::load::{Figures, Ledger, Request, Rows};

const SPANS: usize = 4;

pub struct Spans {
    number: usize,
}

impl Spans {
    pub fn new(number: usize) -> Spans {
        Spans { number }
    }

    fn trace_id(&self, t: i64) -> String {
        format!("{:016x}{t:016x}", self.number + 1)
    }
}

impl Rows for Spans {
    fn request(&self, times: &[i64]) -> Request {
        let spans = times.iter().flat_map(|&t| {
            (0..SPANS).map(move |n| {
                json!({
                    "traceId": self.trace_id(t),
                    "spanId": format!("{:016x}", n + 1),
                    "parentSpanId": if n == 0 { String::new() } else { format!("{n:016x}") },
                    "name": format!("operation {n}"),
                    "kind": 2,
                    "startTimeUnixNano": format!("{t}000000"),
                    "endTimeUnixNano": format!("{t}500000"),
                    "attributes": [{"key": "t", "value": {"intValue": t.to_string()}}],
                })
            })
        });
        let service =
            json!({"key": "service.name", "value": {"stringValue": format!("service-{}", self.number)}});
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": [service]},
            "scopeSpans": [{"spans": spans.collect::<Vec<_>>()}],
        }]});
        Request {
            path: "/v1/traces",
            headers: vec![("content-type", "application/json")],
            body: body.to_string().into_bytes(),
        }
    }

    fn rows_per_time(&self) -> u64 {
        SPANS as u64
    }

    fn compare(&self, sent: &Ledger, server: &Server) -> Figures {
        let mut figures = Figures::default();
        for (&t, &is_acknowledged) in sent {
            let answer = server.get(&format!("/api/traces/{}", self.trace_id(t)));
            if answer.status == 404 && !is_acknowledged {
                continue;
            }
            let json: Value =
                serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.body));
            let spans = json["data"][0]["spans"].as_array().unwrap_or_else(|| panic!("{t}: {}", answer.body));
            let ids: BTreeSet<_> = spans.iter().map(|span| span["spanID"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), spans.len(), "a span comes twice: {}", answer.body);
            for span in spans {
                let name = span["operationName"].as_str().unwrap();
                let n: usize = name.strip_prefix("operation ").unwrap().parse().unwrap();
                assert_eq!(span["spanID"], format!("{:016x}", n + 1));
                assert_eq!(span["startTime"], t * 1000);
                assert_eq!(span["duration"], 500);
            }
            if is_acknowledged {
                assert_eq!(spans.len(), SPANS, "lost of {t}: {}", answer.body);
                figures.acknowledged += SPANS as u64;
            } else {
                figures.unacknowledged += spans.len() as u64;
            }
        }
        figures
    }
}
