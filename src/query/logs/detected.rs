//! Detected fields: what the newest entries of a query hold besides the labels of their streams.

use std::collections::{BTreeMap, BTreeSet};

use super::{DetectedField, DetectedFieldsQuery, Direction, FieldType, LogLine};
use crate::model::{Lookout, NanoRange, StopSign};
use crate::query::logql::ast::{Expr, LogExpr, Logfmt, Stage, StageKind};
use crate::query::logql::eval::{EntriesAsk, Scan, entries};
use crate::query::logql::stages::{Category, EntryState, Pipeline, Wanted, json_paths};
use crate::query::logql::units::{parse_bytes, parse_go_duration};
use crate::query::metrics::QueryKind;
use crate::query::{Budget, Querier, QueryError};

/// What is known of one field.
#[derive(Debug, Default)]
struct Field {
    values: BTreeSet<String>,
    parsers: BTreeSet<&'static str>,
    json_path: Vec<String>,
}

impl Querier {
    pub fn detected_fields(
        &self,
        request: &DetectedFieldsQuery,
        budget: &Budget,
    ) -> Result<Vec<DetectedField>, QueryError> {
        self.metrics.observe(QueryKind::LogFields, budget, || {
            let found = self.fields(request, budget)?.into_iter().take(request.limit);
            let fields = found.map(|(label, field)| DetectedField {
                label,
                field_type: type_of(&field.values),
                cardinality: field.values.len() as u64,
                parsers: field.parsers.into_iter().collect(),
                json_path: field.json_path,
            });
            Ok(fields.collect())
        })
    }

    pub fn detected_field_values(
        &self,
        name: &str,
        request: &DetectedFieldsQuery,
        budget: &Budget,
    ) -> Result<Vec<String>, QueryError> {
        self.metrics.observe(QueryKind::LogFields, budget, || {
            let field = self.fields(request, budget)?.remove(name).unwrap_or_default();
            Ok(field.values.into_iter().take(request.limit).collect())
        })
    }

    fn fields(
        &self,
        request: &DetectedFieldsQuery,
        budget: &Budget,
    ) -> Result<BTreeMap<String, Field>, QueryError> {
        let Expr::Log(expr) = self.parse_logs(&request.expr)? else {
            return Err(QueryError::BadData(
                "fields are those of a log query, and this is a metric one".into(),
            ));
        };
        let own_parsers = parsers_of(&expr);
        let snapshot = self.logs_until_over(budget);
        let ask = EntriesAsk {
            range: NanoRange::closed(request.start, request.end),
            direction: Direction::Backward,
            limit: request.line_limit.min(self.options.log_entries_max),
            interval_ns: 0,
            now: request.end,
        };
        let streams = entries(Scan { snapshot: &snapshot, budget }, &expr, ask)?;
        let mut finder = Finder::default();
        for stream in &streams {
            budget.check()?;
            stream.entries.iter().for_each(|entry| finder.look_at(entry, &own_parsers));
        }
        finder.fields.retain(|name, _| stream_lacks(&streams, name));
        Ok(finder.fields)
    }
}

/// Labels of streams are no fields.
fn stream_lacks(streams: &[super::StreamAnswer], name: &str) -> bool {
    streams.iter().all(|stream| stream.labels.get(name).is_empty())
}

/// The parsers that the query itself has.
fn parsers_of(expr: &LogExpr) -> Vec<&'static str> {
    let name = |stage: &Stage| match stage.kind {
        StageKind::Json(_) => Some("json"),
        StageKind::Logfmt(_) => Some("logfmt"),
        StageKind::Regexp(_) => Some("regexp"),
        StageKind::Pattern(_) => Some("pattern"),
        StageKind::Unpack => Some("unpack"),
        _ => None,
    };
    expr.stages.iter().filter_map(name).collect()
}

struct Finder {
    fields: BTreeMap<String, Field>,
    json: (Pipeline, EntryState),
    logfmt: (Pipeline, EntryState),
}

impl Default for Finder {
    fn default() -> Finder {
        let parser = |kind| {
            let stage = Stage { position: Default::default(), kind };
            (Pipeline::new(&[stage], Wanted::All, 0).0, EntryState::default())
        };
        Finder {
            fields: BTreeMap::new(),
            json: parser(StageKind::Json(Vec::new())),
            logfmt: parser(StageKind::Logfmt(Logfmt::default())),
        }
    }
}

impl Finder {
    fn look_at(&mut self, entry: &LogLine, own_parsers: &[&'static str]) {
        for (name, value) in &entry.metadata {
            self.add(name, value, &[]);
        }
        if !own_parsers.is_empty() {
            // The query says how its lines are to be read.
            for (name, value) in entry.parsed.iter().filter(|(name, _)| !name.starts_with("__")) {
                self.add(name, value, own_parsers);
            }
            return;
        }
        let is_json = entry.line.trim_start().starts_with('{');
        let ((pipeline, state), parser) =
            if is_json { (&mut self.json, "json") } else { (&mut self.logfmt, "logfmt") };
        state.begin(0, &crate::model::Labels::empty());
        // A parser has no expression that could take long.
        let until_the_end = StopSign::never();
        pipeline.run(entry.timestamp, &entry.line, state, &Lookout::new(&until_the_end));
        if state.labels.error().is_some() {
            return;
        }
        let found: Vec<(String, String)> = state
            .labels
            .iter()
            .filter(|(_, _, category)| *category == Category::Parsed)
            .map(|(name, value, _)| (name.to_owned(), value.to_owned()))
            .collect();
        for (name, value) in found {
            self.add(&name, &value, &[parser]);
        }
        if is_json {
            for (name, path) in json_paths(&entry.line) {
                if let Some(field) = self.fields.get_mut(&name).filter(|field| field.json_path.is_empty()) {
                    field.json_path = path;
                }
            }
        }
    }

    fn add(&mut self, name: &str, value: &str, parsers: &[&'static str]) {
        let field = self.fields.entry(name.to_owned()).or_default();
        if !value.is_empty() {
            field.values.insert(value.to_owned());
        }
        field.parsers.extend(parsers);
    }
}

/// The narrowest type that all values have.
fn type_of(values: &BTreeSet<String>) -> FieldType {
    let all = |is: fn(&str) -> bool| !values.is_empty() && values.iter().all(|value| is(value));
    if all(|value| value.parse::<i64>().is_ok()) {
        FieldType::Int
    } else if all(|value| value.parse::<f64>().is_ok()) {
        FieldType::Float
    } else if all(|value| matches!(value, "true" | "false")) {
        FieldType::Boolean
    } else if all(|value| parse_go_duration(value).is_some()) {
        FieldType::Duration
    } else if all(|value| parse_bytes(value).is_some()) {
        FieldType::Bytes
    } else {
        FieldType::String
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str, metadata: &[(&str, &str)]) -> LogLine {
        let metadata = metadata.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        LogLine { timestamp: 0, line: line.to_owned(), metadata, parsed: Vec::new() }
    }

    #[test]
    fn fields_are_found_in_json_logfmt_and_metadata() {
        let mut finder = Finder::default();
        finder.look_at(&line(r#"{"http":{"status.code":200},"took":"12ms"}"#, &[("trace_id", "ab")]), &[]);
        finder.look_at(&line("took=1.5s size=3KB ok=true", &[]), &[]);
        finder.look_at(&line(r#"{"broken":"#, &[]), &[]);
        let seen: Vec<_> = finder
            .fields
            .iter()
            .map(|(name, field)| {
                let parsers: Vec<_> = field.parsers.iter().copied().collect();
                (
                    name.as_str(),
                    type_of(&field.values),
                    field.values.len(),
                    parsers,
                    field.json_path.join("/"),
                )
            })
            .collect();
        let none = String::new;
        assert_eq!(
            seen,
            [
                ("http_status_code", FieldType::Int, 1, vec!["json"], "http/status.code".to_owned()),
                ("ok", FieldType::Boolean, 1, vec!["logfmt"], none()),
                ("size", FieldType::Bytes, 1, vec!["logfmt"], none()),
                ("took", FieldType::Duration, 2, vec!["json", "logfmt"], "took".to_owned()),
                ("trace_id", FieldType::String, 1, vec![], none()),
            ]
        );
    }

    #[test]
    fn a_type_is_that_of_all_values() {
        let of = |values: &[&str]| type_of(&values.iter().map(|v| (*v).to_owned()).collect());
        assert_eq!(of(&["1", "-2"]), FieldType::Int);
        assert_eq!(of(&["1", "2.5"]), FieldType::Float);
        assert_eq!(of(&["true", "false"]), FieldType::Boolean);
        assert_eq!(of(&["1ms", "2h"]), FieldType::Duration);
        assert_eq!(of(&["1KB", "2MiB"]), FieldType::Bytes);
        assert_eq!(of(&["1ms", "2KB"]), FieldType::String);
        assert_eq!(of(&[]), FieldType::String);
    }
}
