//! Log and metric expressions, from their text to an answer.

use std::time::Instant;

use super::{LogAnswer, LogQuery, LogStats, LogValue, StreamAnswer};
use crate::model::{NanoRange, nanos::NANOS_PER_MILLI};
use crate::query::logql::ast::{Expr, LogExpr};
use crate::query::logql::eval::{EntriesAsk, Scan, Steps, entries, evaluate};
use crate::query::logql::parse;
use crate::query::metrics::QueryKind;
use crate::query::{Budget, Querier, QueryError};

impl Querier {
    /// A log or a metric expression, over a range or at an instant.
    pub fn logs(&self, request: &LogQuery, budget: &Budget) -> Result<LogAnswer, QueryError> {
        self.metrics.observe(QueryKind::Logs, budget, || {
            let started = Instant::now();
            let expr = self.parse_logs(&request.expr)?;
            let snapshot = self.logs_until_over(budget);
            let scan = Scan { snapshot: &snapshot, budget };
            let value = match &expr {
                Expr::Log(expr) => LogValue::Streams(self.entries(scan, expr, request)?),
                Expr::Metric(expr) => LogValue::Metric(evaluate(scan, expr, steps(request)?)?),
            };
            let entries_returned = match &value {
                LogValue::Streams(streams) => streams.iter().map(|stream| stream.entries.len() as u64).sum(),
                LogValue::Metric(_) => 0,
            };
            let stats = LogStats {
                bytes_read: budget.log_bytes_used(),
                lines_read: budget.log_lines_used(),
                entries_returned,
                seconds: started.elapsed().as_secs_f64(),
            };
            Ok(LogAnswer { value, warnings: snapshot.warnings(), stats })
        })
    }

    /// The expression, checked, as it is written best.
    pub fn format_logs(&self, expr: &str) -> Result<String, QueryError> {
        Ok(self.parse_logs(expr)?.to_string())
    }

    pub(super) fn parse_logs(&self, text: &str) -> Result<Expr, QueryError> {
        parse(text, &self.log_parsing).map_err(|error| QueryError::BadData(error.to_string()))
    }

    fn entries(
        &self,
        scan: Scan<'_>,
        expr: &LogExpr,
        request: &LogQuery,
    ) -> Result<Vec<StreamAnswer>, QueryError> {
        if request.step_ns == 0 {
            return Err(QueryError::BadData(
                "log queries are not supported as an instant query type, please change your query to a range \
                 query type"
                    .into(),
            ));
        }
        let max = self.options.log_entries_max;
        if request.limit > max {
            return Err(QueryError::BadData(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({} > {max})",
                request.limit
            )));
        }
        let ask = EntriesAsk {
            range: NanoRange::from_start_to_before(request.start, request.end),
            direction: request.direction,
            limit: request.limit,
            interval_ns: request.interval_ns,
            now: request.now,
        };
        entries(scan, expr, ask)
    }
}

fn steps(request: &LogQuery) -> Result<Steps, QueryError> {
    if request.step_ns < 0 || request.step_ns % NANOS_PER_MILLI != 0 {
        return Err(QueryError::BadData(format!(
            "step of {} ns: query resolution step widths are whole milliseconds, at least one",
            request.step_ns
        )));
    }
    Ok(Steps { start: request.start, end: request.end, step_ns: request.step_ns, now: request.now })
}
