//! A server's answer to a query, as the terminal shows it.

use serde_json::Value;

/// What came back, whatever its type: an instant result has one point in each series.
pub struct Answer {
    pub series: Vec<Series>,
    /// Warnings and infos.
    pub annotations: Vec<String>,
}

pub struct Series {
    /// As PromQL writes it, with control characters escaped.
    pub name: String,
    pub points: Vec<Point>,
}

pub struct Point {
    pub seconds: f64,
    /// The value as the server wrote it.
    pub text: String,
}

impl Point {
    /// `None` for histograms and strings, which have no place on an axis.
    pub fn value(&self) -> Option<f64> {
        self.text.parse().ok()
    }
}

impl Answer {
    /// `None` for what is not an answer of Prometheus's API.
    pub fn parse(body: &str) -> Option<Answer> {
        let body: Value = serde_json::from_str(body).ok()?;
        let result = &body["data"]["result"];
        let series = match body["data"]["resultType"].as_str()? {
            "scalar" | "string" => vec![Series { name: String::new(), points: vec![point(result)?] }],
            _ => result.as_array()?.iter().map(series).collect::<Option<_>>()?,
        };
        Some(Answer { series, annotations: annotations(&body) })
    }
}

/// The warnings and infos of an answer of whatever kind.
pub fn annotations(body: &Value) -> Vec<String> {
    let texts = ["warnings", "infos"].iter().filter_map(|key| body[key].as_array()).flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn series(value: &Value) -> Option<Series> {
    let mut points = Vec::new();
    for key in ["value", "histogram"] {
        if let Some(one) = value.get(key) {
            points.push(point(one)?);
        }
    }
    for key in ["values", "histograms"] {
        for one in value.get(key).and_then(Value::as_array).into_iter().flatten() {
            points.push(point(one)?);
        }
    }
    points.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Some(Series { name: name(&value["metric"])?, points })
}

fn point(value: &Value) -> Option<Point> {
    let (seconds, value) = (value.get(0)?.as_f64()?, value.get(1)?);
    let text = match value.as_str() {
        Some(text) => text.escape_debug().to_string(),
        None => {
            let field = |key: &str| value[key].as_str().unwrap_or("?").to_owned();
            format!("{{count:{}, sum:{}}}", field("count"), field("sum"))
        }
    };
    Some(Point { seconds, text })
}

/// A set of labels, with control characters escaped.
pub fn name(metric: &Value) -> Option<String> {
    let labels = metric.as_object()?;
    let name = labels.get("__name__").and_then(Value::as_str).unwrap_or("");
    let rest: Vec<String> = labels
        .iter()
        .filter(|(label, _)| *label != "__name__")
        .map(|(label, value)| format!("{}={:?}", label.escape_debug(), value.as_str().unwrap_or("")))
        .collect();
    let name = name.escape_debug();
    Some(if rest.is_empty() && labels.contains_key("__name__") {
        name.to_string()
    } else {
        format!("{name}{{{}}}", rest.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_promql_writes_them_and_cannot_drive_the_terminal() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"a\u001b[31m"},"value":[1.5,"1"]},
            {"metric":{},"value":[1.5,"NaN"]}]},"warnings":["w"]}"#;
        let answer = Answer::parse(body).unwrap();
        let names: Vec<_> = answer.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, [r#"up{job="a\u{1b}[31m"}"#, "{}"]);
        assert_eq!(answer.annotations, ["w"]);
        assert!(answer.series[1].points[0].value().unwrap().is_nan());
    }

    #[test]
    fn what_is_no_answer_is_told_as_such() {
        assert!(Answer::parse("<html>").is_none());
        assert!(Answer::parse(r#"{"data":{"resultType":"vector","result":{}}}"#).is_none());
    }
}
