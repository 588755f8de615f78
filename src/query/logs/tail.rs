//! Live tail: a pipeline over entries as they come in.

use std::collections::BTreeMap;

use super::{LogLine, StreamAnswer};
use crate::model::{Labels, Lookout, Matcher, Nanos, StopSign};
use crate::query::logql::ast::Expr;
use crate::query::logql::eval::{answer_line, stream_labels};
use crate::query::logql::stages::{EntryState, Pipeline, Wanted};
use crate::query::{Querier, QueryError};
use crate::storage::logs::LogRows;

/// A log query that runs over entries as they come in.
#[derive(Debug)]
pub struct LogTail {
    matchers: Vec<Matcher>,
    pipeline: Pipeline,
}

impl LogTail {
    /// The entries that pass, by stream; in order of arrival.
    pub fn run(&mut self, rows: &LogRows, now: Nanos) -> Vec<StreamAnswer> {
        self.pipeline.now = now;
        let mut passed: BTreeMap<Labels, Vec<LogLine>> = BTreeMap::new();
        // A tail has no deadline, and its thread is its own.
        let until_the_end = StopSign::never();
        for stream in &rows.streams {
            if !self.matchers.iter().all(|matcher| matcher.matches(stream.labels.get(&matcher.name))) {
                continue;
            }
            let mut state = EntryState::default();
            let lookout = Lookout::new(&until_the_end);
            for entry in stream.entries() {
                state.begin(0, &stream.labels);
                state.labels.add_metadata(entry.metadata());
                if self.pipeline.run(entry.timestamp, entry.line, &mut state, &lookout) {
                    let line = answer_line(entry.timestamp, entry.line, &state);
                    passed.entry(stream_labels(&state)).or_default().push(line);
                }
            }
        }
        passed.into_iter().map(|(labels, entries)| StreamAnswer { labels, entries }).collect()
    }
}

impl Querier {
    /// Makes the pipeline of a live tail; a metric expression is refused.
    pub fn tail_logs(&self, expr: &str) -> Result<LogTail, QueryError> {
        match self.parse_logs(expr)? {
            Expr::Log(expr) => {
                let (pipeline, _) = Pipeline::new(&expr.stages, Wanted::All, 0);
                Ok(LogTail { matchers: expr.matchers, pipeline })
            }
            Expr::Metric(_) => Err(QueryError::BadData(
                "only log queries can be tailed: a metric expression has no entries".into(),
            )),
        }
    }
}
