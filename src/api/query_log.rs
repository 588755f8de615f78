//! The query log: a line of JSON for each query, in the members of Prometheus's own, written by a thread of its own.
//!
//! At most [`LINES_MAX`] lines wait for that thread; who comes then does not wait, and his line is lost and counted.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;
use prometheus::{IntCounter, Registry};

use super::Api;
use super::error::ApiError;
use super::json::push_string;
use super::origin::Origin;
use super::query_stats::stats_text;
use crate::model::Timestamp;
use crate::query::{Budget, Exceeded, QueryStats};

/// With queries as long as they may be, 16 MiB.
const LINES_MAX: usize = 1_024;
/// How long the end of the server waits for a disk that takes nothing.
const END_TIME: Duration = Duration::from_secs(1);

pub struct QueryLog {
    lines: Sender<String>,
    orders: Sender<Order>,
    lost: IntCounter,
}

enum Order {
    Reopen,
    /// Write what waits, then tell.
    End(Sender<()>),
}

impl QueryLog {
    /// Appends to the file, which is made if it is not there.
    pub fn open(path: &Path, registry: &Registry) -> io::Result<QueryLog> {
        const ONCE: &str = "the name is valid and registered once";
        let file = append_to(path)?;
        let lost = IntCounter::new("icecore_query_log_lost_total", "Queries that could not be logged.");
        let lost = lost.expect(ONCE);
        registry.register(Box::new(lost.clone())).expect(ONCE);
        let (lines, waiting) = bounded(LINES_MAX);
        let (orders, ordered) = bounded(1);
        let writer = Writer { path: path.to_owned(), file, is_failing: false, lost: lost.clone() };
        std::thread::Builder::new()
            .name("query-log".to_owned())
            .spawn(move || writer.run(&waiting, &ordered))?;
        Ok(QueryLog { lines, orders, lost })
    }

    /// Never waits.
    fn write(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.lost.inc();
        }
    }

    /// Begins a new file where the present one was moved away.
    pub fn reopen(&self) {
        // If an order waits already, it is this one or the last one.
        let _ = self.orders.try_send(Order::Reopen);
    }

    /// Returns when everything is written, or when that takes too long.
    pub fn end(&self) {
        let (tell, written) = bounded(1);
        if self.orders.send_timeout(Order::End(tell), END_TIME).is_ok() {
            let _ = written.recv_timeout(END_TIME);
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

struct Writer {
    path: PathBuf,
    file: File,
    /// The last line could not be written; said once, not for each line.
    is_failing: bool,
    lost: IntCounter,
}

impl Writer {
    fn run(mut self, lines: &Receiver<String>, orders: &Receiver<Order>) {
        loop {
            select! {
                recv(orders) -> order => match order {
                    Ok(Order::Reopen) => self.reopen(),
                    Ok(Order::End(tell)) => {
                        lines.try_iter().for_each(|line| self.write(&line));
                        let _ = tell.send(());
                    }
                    Err(_) => return,
                },
                recv(lines) -> line => match line {
                    Ok(line) => self.write(&line),
                    Err(_) => return,
                },
            }
        }
    }

    fn write(&mut self, line: &str) {
        let result = self.file.write_all(line.as_bytes());
        if let Err(error) = &result {
            self.lost.inc();
            if !self.is_failing {
                tracing::warn!(path = %self.path.display(), %error, "cannot write the query log");
            }
        }
        self.is_failing = result.is_err();
    }

    fn reopen(&mut self) {
        match append_to(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot reopen the query log");
            }
        }
    }
}

/// A query that will be logged: what is known of it before it runs.
#[derive(Clone)]
pub struct LogEntry {
    query: String,
    start: Timestamp,
    end: Timestamp,
    step_ms: i64,
    origin: Origin,
    /// How its trial ended, until it is known whether it begins anew; shared by its clones.
    of_trial: Arc<Mutex<Option<String>>>,
}

impl LogEntry {
    /// Of the request that is being answered; `None` if nothing is logged.
    pub fn new(api: &Api, query: &str, start: Timestamp, end: Timestamp, step_ms: i64) -> Option<LogEntry> {
        api.query_log.as_ref()?;
        Some(LogEntry {
            query: query.to_owned(),
            start,
            end,
            step_ms,
            origin: Origin::current(),
            of_trial: Arc::default(),
        })
    }

    /// Logs how it ended. Engines without statistics of their own have what the budget counted.
    pub fn write<E: fmt::Display>(
        &self,
        api: &Api,
        budget: &Budget,
        result: Result<Option<&QueryStats>, &E>,
    ) {
        let Some(log) = &api.query_log else { return };
        let of_budget = QueryStats::of_budget(budget);
        let stats = result.ok().flatten().unwrap_or(&of_budget);
        let line = self.line(api.clock.now_ms(), stats, result.err().map(E::to_string));
        if budget.is_on_trial() {
            *self.of_trial.lock() = Some(line);
        } else {
            log.write(line);
        }
    }

    /// The trial was all there was of the query.
    pub fn ended_on_trial(&self, api: &Api) {
        if let (Some(log), Some(line)) = (&api.query_log, self.of_trial.lock().take()) {
            log.write(line);
        }
    }

    fn line(&self, now: Timestamp, stats: &QueryStats, error: Option<String>) -> String {
        let mut line = format!(
            "{{\"time\":\"{}\",\"level\":\"INFO\",\"msg\":\"{} query logged\",\"params\":{{\"end\":\"{}\",\"query\":",
            date(now),
            self.origin.language(),
            date(self.end)
        );
        push_string(&mut line, &self.query);
        line += &format!(",\"start\":\"{}\",\"step\":{}}}", date(self.start), self.step_ms / 1_000);
        if let Some(error) = error {
            line += ",\"error\":";
            push_string(&mut line, &error);
        }
        line += &format!(",\"stats\":{},\"httpRequest\":{{\"clientIP\":", stats_text(stats));
        let client = self.origin.client.map_or_else(String::new, |client| client.to_string());
        push_string(&mut line, &client);
        line += ",\"method\":";
        push_string(&mut line, self.origin.method.as_str());
        line += ",\"path\":";
        push_string(&mut line, self.origin.uri.path());
        line + "}}\n"
    }
}

/// The entry of a query that waits for its turn. Whoever runs the query takes it; otherwise the last to let go of it
/// logs that the query was cancelled, which is what becomes of it when its client leaves.
#[derive(Clone)]
pub struct Waiting(Arc<Inner>);

struct Inner {
    api: Arc<Api>,
    budget: Budget,
    entry: Mutex<Option<LogEntry>>,
}

impl Waiting {
    pub fn new(api: &Arc<Api>, budget: &Budget, entry: Option<LogEntry>) -> Waiting {
        let (api, budget, entry) = (api.clone(), budget.clone(), Mutex::new(entry));
        Waiting(Arc::new(Inner { api, budget, entry }))
    }

    /// The query has its turn.
    pub fn begins(&self) -> Option<LogEntry> {
        self.0.entry.lock().take()
    }

    /// The query got no turn, if nobody took its entry.
    pub fn ends(&self, why: &ApiError) {
        self.0.log(why);
    }
}

impl Inner {
    fn log(&self, why: &impl fmt::Display) {
        if let Some(entry) = self.entry.lock().take() {
            entry.write(&self.api, &self.budget, Err(why));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.log(&Exceeded::CancelledInQueue);
    }
}

/// In UTC, to the millisecond; nothing for times that have no date.
fn date(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(query: &str) -> LogEntry {
        let origin = Origin {
            client: Some([127, 0, 0, 1].into()),
            method: axum::http::Method::GET,
            uri: "/api/v1/query_range?query=up".parse().unwrap(),
        };
        LogEntry {
            query: query.to_owned(),
            start: 1_700_000_000_000,
            end: 1_700_000_060_500,
            step_ms: 15_000,
            origin,
            of_trial: Arc::default(),
        }
    }

    #[test]
    fn a_line_is_one_object_whatever_the_query_is() {
        let error = Some("no \"way\"".to_owned());
        let line = entry("up{a=\"\n\u{1}\"}").line(0, &QueryStats::default(), error);
        assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(read["msg"], "promql query logged");
        assert_eq!(
            read["params"],
            serde_json::json!({"query": "up{a=\"\n\u{1}\"}", "start": "2023-11-14T22:13:20.000Z",
                "end": "2023-11-14T22:14:20.500Z", "step": 15})
        );
        assert_eq!(read["error"], "no \"way\"");
        assert_eq!(read["stats"]["samples"]["samplesRead"], 0);
        assert_eq!(
            read["httpRequest"],
            serde_json::json!({"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query_range"})
        );
    }

    #[test]
    fn a_writer_that_cannot_keep_up_costs_lines_and_never_waits() {
        let (lines, _waiting) = bounded(1);
        let (orders, _ordered) = bounded(1);
        let log = QueryLog { lines, orders, lost: IntCounter::new("lost", "lost").unwrap() };
        (0..3).for_each(|i| log.write(i.to_string()));
        assert_eq!(log.lost.get(), 2);
    }

    #[test]
    fn what_was_handed_over_is_in_the_file_when_the_log_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("queries"), dir.path().join("queries.1"));
        let log = QueryLog::open(&path, &Registry::new()).unwrap();
        log.write("one\n".to_owned());
        log.end();
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        log.end();
        log.write("two\n".to_owned());
        log.end();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }
}
