//! Searches that are not written in TraceQL: Tempo's older `tags=`, Jaeger's search form. They become conditions of
//! the same tree, so that there is one engine.

use crate::query::QueryError;
use crate::query::traceql::ast::{BinaryOp, Field, FieldExpr, Intrinsic, Scope};
use crate::query::traceql::{Kind, Status, Value};

/// Nanoseconds; both ends count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationBounds {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

/// What Jaeger's search form asks of one span.
#[derive(Clone, Debug, Default)]
pub struct SpanForm {
    pub service: String,
    /// Empty: any.
    pub operation: String,
    pub tags: Vec<(String, String)>,
    /// Of the span.
    pub duration: DurationBounds,
}

impl SpanForm {
    pub fn condition(&self) -> FieldExpr {
        let equal = |field, text: &str| FieldExpr::compared(field, BinaryOp::Equal, Value::text(text));
        let mut parts = vec![equal(Field::attribute(Scope::Resource, "service.name"), &self.service)];
        if !self.operation.is_empty() {
            parts.push(equal(Field::intrinsic(Intrinsic::Name), &self.operation));
        }
        parts.extend(self.tags.iter().map(|(key, value)| jaeger_tag(key, value)));
        parts.extend(self.duration.conditions(Intrinsic::Duration));
        FieldExpr::all(parts)
    }
}

impl DurationBounds {
    pub fn conditions(self, of: Intrinsic) -> impl Iterator<Item = FieldExpr> {
        let bounds = [(self.min, BinaryOp::GreaterEqual), (self.max, BinaryOp::LessEqual)];
        bounds.into_iter().filter_map(move |(bound, op)| {
            Some(FieldExpr::compared(Field::intrinsic(of), op, Value::Duration(bound?)))
        })
    }
}

/// Tags that Jaeger makes of a span's own fields, and what it would show for an attribute of this name.
fn jaeger_tag(key: &str, value: &str) -> FieldExpr {
    let intrinsic = |name, value| FieldExpr::compared(Field::intrinsic(name), BinaryOp::Equal, value);
    match (key, value.to_ascii_lowercase().as_str()) {
        ("error", "true") => {
            let attribute = tag(&[Scope::Span, Scope::Resource], key, value);
            FieldExpr::any(vec![intrinsic(Intrinsic::Status, Value::Status(Status::Error)), attribute])
        }
        ("span.kind", kind) if Kind::ALL.iter().any(|known| known.name() == kind) => {
            let kind = *Kind::ALL.iter().find(|known| known.name() == kind).unwrap_or(&Kind::Unspecified);
            intrinsic(Intrinsic::Kind, Value::Kind(kind))
        }
        ("otel.status_code", "error") => intrinsic(Intrinsic::Status, Value::Status(Status::Error)),
        ("otel.status_code", "ok") => intrinsic(Intrinsic::Status, Value::Status(Status::Ok)),
        ("otel.status_description", _) => intrinsic(Intrinsic::StatusMessage, Value::text(value)),
        ("otel.scope.name", _) => intrinsic(Intrinsic::InstrumentationName, Value::text(value)),
        ("otel.scope.version", _) => intrinsic(Intrinsic::InstrumentationVersion, Value::text(value)),
        _ => tag(&[Scope::Span, Scope::Resource], key, value),
    }
}

/// An attribute whose value, whatever its type, is written like this.
fn tag(scopes: &[Scope], key: &str, text: &str) -> FieldExpr {
    let mut values = vec![Value::text(text)];
    values.extend(text.parse().ok().map(Value::Int));
    if values.len() == 1 {
        values.extend(text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float));
    }
    values.extend(text.parse().ok().map(Value::Bool));
    let compared = |scope: &Scope| {
        let scope = *scope;
        values.iter().map(move |value| {
            FieldExpr::compared(Field::attribute(scope, key), BinaryOp::Equal, value.clone())
        })
    };
    FieldExpr::any(scopes.iter().flat_map(compared).collect())
}

/// Tempo's `tags=service.name=api http.status_code=500 name="GET /"`: logfmt, all of it on one span, and the duration of
/// the whole trace.
pub fn tempo_tags(tags: &str, duration: DurationBounds) -> Result<FieldExpr, QueryError> {
    let mut parts = Vec::new();
    for (key, value) in logfmt(tags)? {
        let equal =
            |intrinsic, value| FieldExpr::compared(Field::intrinsic(intrinsic), BinaryOp::Equal, value);
        parts.push(match (key.as_str(), value.to_ascii_lowercase().as_str()) {
            ("name", _) => equal(Intrinsic::Name, Value::text(value)),
            ("root.name", _) => equal(Intrinsic::RootName, Value::text(value)),
            ("root.service.name", _) => equal(Intrinsic::RootServiceName, Value::text(value)),
            ("error", "true") => equal(Intrinsic::Status, Value::Status(Status::Error)),
            ("status.code", code) if Status::ALL.iter().any(|status| status.name() == code) => {
                let status = *Status::ALL.iter().find(|s| s.name() == code).unwrap_or(&Status::Unset);
                equal(Intrinsic::Status, Value::Status(status))
            }
            _ => tag(&[Scope::Any], &key, &value),
        });
    }
    parts.extend(duration.conditions(Intrinsic::TraceDuration));
    Ok(FieldExpr::all(parts))
}

/// `key=value` pairs between blanks; a value may be quoted.
fn logfmt(text: &str) -> Result<Vec<(String, String)>, QueryError> {
    let bad =
        |what: &str| QueryError::BadData(format!("invalid tags: {what}; expected key=value key=\"value\""));
    let (mut pairs, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = &rest[..end];
        let Some(after) = rest[end..].strip_prefix('=').filter(|_| !key.is_empty()) else {
            return Err(bad("a key without a value, or a value without a key"));
        };
        let (value, left) = if after.starts_with('"') {
            let (bytes, len) = crate::query::lexical::strings::unquote(after).map_err(|e| bad(&e.message))?;
            (String::from_utf8(bytes).map_err(|_| bad("a value is not UTF-8"))?, &after[len..])
        } else {
            let end = after.find(char::is_whitespace).unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        pairs.push((key.to_owned(), value));
        rest = left.trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_searches_become_conditions() {
        let duration = DurationBounds { min: Some(1_000_000), max: None };
        let tags = "service.name=api http.status_code=500 name=\"GET /\" error=true";
        assert_eq!(
            tempo_tags(tags, duration).unwrap().to_string(),
            "(((.service.name = api)) && ((.http.status_code = 500) || (.http.status_code = 500)) && (name = GET /) \
             && (status = error) && (traceDuration >= 1ms))"
        );
        assert_eq!(logfmt("a=1  b=\"x y\" c=").unwrap().len(), 3);
        for bad in ["a", "=1", "a=\"x", "a b=1"] {
            assert!(matches!(logfmt(bad), Err(QueryError::BadData(_))), "{bad}");
        }
    }

    #[test]
    fn jaegers_form_asks_one_span_for_everything() {
        let form = SpanForm {
            service: "api".to_owned(),
            operation: "GET".to_owned(),
            tags: vec![
                ("error".to_owned(), "true".to_owned()),
                ("span.kind".to_owned(), "client".to_owned()),
                ("x".to_owned(), "y".to_owned()),
            ],
            duration: DurationBounds { min: None, max: Some(5) },
        };
        assert_eq!(
            form.condition().to_string(),
            "((resource.service.name = api) && (name = GET) && ((status = error) || ((span.error = true) || \
             (span.error = true) || (resource.error = true) || (resource.error = true))) && (kind = client) && \
             ((span.x = y) || (resource.x = y)) && (duration <= 5ns))"
        );
    }
}
