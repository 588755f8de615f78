//! Log entries by Loki push: each is there with its line and metadata.
//!
//! A request that nobody answered is sent again, and may have been taken the first time: then its entries may come
//! twice, as with Loki.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{Server, encode, now_ms};
use crate::load::{Figures, Ledger, Request, Rows};

const STREAMS: usize = 3;

pub struct Entries {
    sender: String,
}

impl Entries {
    pub fn new(number: usize) -> Entries {
        Entries { sender: format!("sender-{number}") }
    }

    fn line(&self, n: usize, t: i64) -> String {
        format!("{} says {} at {t}, path=/items/{}", self.sender, t.wrapping_mul(7919), n * 31)
    }
}

impl Rows for Entries {
    fn request(&self, times: &[i64]) -> Request {
        let stream = |n: usize| {
            let values = times
                .iter()
                .map(|&t| json!([format!("{t}000000"), self.line(n, t), {"trace_id": format!("{t:032x}")}]));
            json!({
                "stream": {"sender": self.sender, "pod": n.to_string()},
                "values": values.collect::<Vec<_>>(),
            })
        };
        let body = json!({"streams": (0..STREAMS).map(stream).collect::<Vec<_>>()});
        Request {
            path: "/loki/api/v1/push",
            headers: vec![("content-type", "application/json")],
            body: body.to_string().into_bytes(),
        }
    }

    fn rows_per_time(&self) -> u64 {
        STREAMS as u64
    }

    fn compare(&self, sent: &Ledger, server: &Server) -> Figures {
        let mut figures = Figures::default();
        for n in 0..STREAMS {
            let there = self.entries_of(n, server);
            for (t, entry) in &there {
                assert!(sent.contains_key(t), "{} {n}: nobody sent an entry at {t}", self.sender);
                assert_eq!(entry, &(self.line(n, *t), format!("{t:032x}")));
            }
            let there: BTreeSet<i64> = there.into_iter().map(|(t, _)| t).collect();
            let lost: Vec<_> = sent.iter().filter(|(t, acked)| **acked && !there.contains(t)).collect();
            assert!(lost.is_empty(), "{} {n}: {} of {} lost: {lost:?}", self.sender, lost.len(), sent.len());
            let acknowledged = sent.values().filter(|acked| **acked).count() as u64;
            figures.acknowledged += acknowledged;
            figures.unacknowledged += there.len() as u64 - acknowledged;
        }
        figures
    }
}

impl Entries {
    /// Time, line and trace id of all entries of a stream.
    fn entries_of(&self, n: usize, server: &Server) -> Vec<(i64, (String, String))> {
        let (mut found, mut start) = (Vec::new(), (now_ms() - 2 * 3_600_000) * 1_000_000);
        let query = encode(&format!("{{sender=\"{}\", pod=\"{n}\"}}", self.sender));
        loop {
            let end = (now_ms() + 3_600_000) * 1_000_000;
            let path = format!(
                "/loki/api/v1/query_range?query={query}&direction=forward&limit=1000&start={start}&end={end}"
            );
            let body = server.get(&path).body;
            let json: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
            let streams = json["data"]["result"].as_array().unwrap_or_else(|| panic!("{body}"));
            let mut page: Vec<_> = streams
                .iter()
                .flat_map(|stream| {
                    let trace_id = stream["stream"]["trace_id"].as_str().unwrap().to_owned();
                    stream["values"].as_array().unwrap().iter().map(move |value| {
                        let nanos: i64 = value[0].as_str().unwrap().parse().unwrap();
                        (nanos / 1_000_000, (value[1].as_str().unwrap().to_owned(), trace_id.clone()))
                    })
                })
                .collect();
            let Some(last) = page.iter().map(|(t, _)| *t).max() else { return found };
            start = last * 1_000_000 + 1;
            found.append(&mut page);
        }
    }
}
