//! Names of attributes and their values, for completing what is typed.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;

use super::{Answer, number, range};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::form::{Form, quoted};
use crate::api::json::push_string;
use crate::api::run_query::run_query;
use crate::query::traceql;
use crate::query::traceql::ast::{Field, FieldName, Intrinsic, Scope};
use crate::query::traces::{TagScope, TagValuesQuery};

const VALUES_DEFAULT: usize = 5_000;

/// Intrinsics that are offered: those whose values somebody may want to type.
const INTRINSICS: [&str; 20] = [
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:kind",
    "span:name",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
];

/// The scopes of which names are wanted.
struct Wanted {
    attributes: Vec<TagScope>,
    intrinsics: bool,
}

/// Of a scope without names (events, links) nothing is wanted.
fn wanted(form: &Form, intrinsics_by_default: bool) -> Result<Wanted, ApiError> {
    let scope = form.get("scope");
    let attributes = match scope {
        "" | "none" => {
            return Ok(Wanted { attributes: TagScope::ALL.to_vec(), intrinsics: intrinsics_by_default });
        }
        "intrinsic" | "event" | "link" => Vec::new(),
        _ => match TagScope::ALL.into_iter().find(|known| known.name() == scope) {
            Some(known) => vec![known],
            None => {
                let reason = format!("{} is no scope", quoted(scope));
                return Err(ApiError::Parameter { name: "scope", reason });
            }
        },
    };
    Ok(Wanted { attributes, intrinsics: scope == "intrinsic" })
}

/// `/api/search/tags`.
pub async fn names(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let (wanted, range) = (wanted(&form, false)?, range(&form)?);
    let limit = number(&form, "limit", 0, 0)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let mut names = BTreeSet::new();
        for &scope in &wanted.attributes {
            names.extend(api.querier.trace_tags(scope, range, budget).map_err(ApiError::Query)?);
        }
        if wanted.intrinsics {
            names.extend(INTRINSICS.map(str::to_owned));
        }
        let names: Vec<String> = names.into_iter().take(or_all(limit)).collect();
        let mut json = api.json_object().within(budget);
        json.raw(r#""tagNames":"#);
        json.strings(&names)?;
        json.raw(r#","metrics":{}"#);
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/api/v2/search/tags`; `limit` is that of each scope.
pub async fn names_by_scope(State(api): State<Arc<Api>>, uri: Uri) -> Answer {
    let form = Form::new(&uri, &Default::default());
    let (wanted, range) = (wanted(&form, true)?, range(&form)?);
    let limit = number(&form, "limit", 0, 0)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let mut scopes = Vec::new();
        for &scope in &wanted.attributes {
            let names = api.querier.trace_tags(scope, range, budget).map_err(ApiError::Query)?;
            if !names.is_empty() {
                scopes.push((scope.name(), names));
            }
        }
        if wanted.intrinsics {
            scopes.push(("intrinsic", INTRINSICS.map(str::to_owned).to_vec()));
        }
        let mut json = api.json_object().within(budget);
        json.raw(r#""scopes":"#);
        json.list(scopes, |json, (scope, mut names)| {
            names.truncate(or_all(limit));
            json.raw(&format!(r#"{{"name":"{scope}","tags":"#));
            json.strings(&names)?;
            json.raw("}");
            Ok(())
        })?;
        json.raw(r#","metrics":{}"#);
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/api/search/tag/<name>/values`: the name has no scope.
pub async fn values(State(api): State<Arc<Api>>, Path(name): Path<String>, uri: Uri) -> Answer {
    let name = decoded_again(name);
    let field = match Intrinsic::from_name(&name) {
        Some(intrinsic) => Field::intrinsic(intrinsic),
        None => Field::attribute(Scope::Any, name),
    };
    let form = Form::new(&uri, &Default::default());
    let request = values_query(&form, field)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let values = api.querier.trace_tag_values(&request, budget).map_err(ApiError::Query)?;
        let texts: BTreeSet<&str> = values.iter().map(|value| value.text.as_str()).collect();
        let mut json = api.json_object().within(budget);
        json.raw(r#""tagValues":"#);
        json.strings(&texts.into_iter().collect::<Vec<_>>())?;
        json.raw(r#","metrics":{}"#);
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

/// `/api/v2/search/tag/<name>/values`: the name has its scope, the values their kind.
pub async fn typed_values(State(api): State<Arc<Api>>, Path(name): Path<String>, uri: Uri) -> Answer {
    let field = scoped(&decoded_again(name))?;
    let form = Form::new(&uri, &Default::default());
    let request = values_query(&form, field)?;
    let answer = run_query(&api, &form, move |api, budget| {
        let values = api.querier.trace_tag_values(&request, budget).map_err(ApiError::Query)?;
        let mut json = api.json_object().within(budget);
        json.raw(r#""tagValues":"#);
        json.list(&values, |json, value| {
            json.raw(&format!(r#"{{"type":"{}","value":"#, value.kind));
            push_string(json.text(), &value.text);
            json.raw("}");
            Ok(())
        })?;
        json.raw(r#","metrics":{}"#);
        Ok(json.finish(&[], &[]))
    });
    Ok(answer.await?)
}

fn values_query(form: &Form, field: Field) -> Result<TagValuesQuery, ApiError> {
    let limit = or_all(number(form, "limit", 0, VALUES_DEFAULT)?);
    Ok(TagValuesQuery { field, filter: form.get("q").to_owned(), range: range(form)?, limit })
}

fn or_all(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// Grafana encodes names twice, so that a slash in one is no part of the path.
fn decoded_again(name: String) -> String {
    if !name.contains('%') {
        return name;
    }
    // Read as the name of a form's field, in which a plus would be a blank.
    let field = name.replace('+', "%2B").replace(['&', '='], "");
    match form_urlencoded::parse(field.as_bytes()).next() {
        Some((decoded, _)) => decoded.into_owned(),
        None => name,
    }
}

/// A name as TraceQL writes it; one that it would quote may stand without quotes here.
fn scoped(name: &str) -> Result<Field, ApiError> {
    if let Some(field) = traceql::field(name) {
        return Ok(field);
    }
    let scopes = [
        ("span.", Scope::Span),
        ("resource.", Scope::Resource),
        ("event.", Scope::Event),
        ("link.", Scope::Link),
        ("instrumentation.", Scope::Instrumentation),
        (".", Scope::Any),
    ];
    let attribute = scopes.iter().find_map(|(prefix, scope)| {
        let key = name.strip_prefix(prefix).filter(|key| !key.is_empty())?;
        Some(Field { of_parent: false, name: FieldName::Attribute { scope: *scope, key: key.to_owned() } })
    });
    attribute.ok_or_else(|| {
        ApiError::BadData(format!(
            "tag name {} is no intrinsic and has no scope: write .name, span.name or resource.name",
            quoted(name)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_a_second_time_and_read_with_their_scope() {
        for (name, key) in [
            ("resource.service.name", "service.name"),
            ("span.http%2Froute", "http/route"),
            ("span.a+b", "a+b"),
            (".x", "x"),
            ("span.a(b", "a(b"),
            ("span.\"a b\"", "a b"),
            ("span.100%", "100%"),
            ("status", "status"),
            ("trace:rootName", "rootName"),
        ] {
            assert_eq!(scoped(&decoded_again(name.to_owned())).unwrap().key(), key, "{name}");
        }
        assert!(scoped("service.name").is_err() && scoped("span.").is_err());
    }

    #[test]
    fn every_intrinsic_that_is_offered_is_known() {
        assert!(INTRINSICS.iter().all(|name| Intrinsic::from_name(name).is_some()));
        assert!(INTRINSICS.is_sorted());
    }
}
