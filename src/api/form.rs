//! Parameters of a request: the query string and, for POST, the form in the body, which comes first.

use std::num::{IntErrorKind, ParseIntError};

use axum::http::Uri;
use bytes::Bytes;
use jiff::Timestamp as Instant;

use super::error::ApiError;
use crate::model::nanos::NANOS_PER_MILLI;
use crate::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::model::{Nanos, TimeRange, Timestamp};

/// Names and values in order; a name may repeat.
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn new(uri: &Uri, body: &Bytes) -> Form {
        let query = uri.query().unwrap_or("");
        let parts = [&body[..], query.as_bytes()];
        Form(parts.iter().flat_map(|part| form_urlencoded::parse(part).into_owned()).collect())
    }

    /// All of them, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// The first value with this name, `""` where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect()
    }

    pub fn time(&self, name: &'static str) -> Result<Timestamp, ApiError> {
        let text = self.get(name);
        parse_time(text).ok_or_else(|| ApiError::Parameter {
            name,
            reason: format!("cannot parse {} to a valid timestamp", quoted(text)),
        })
    }

    pub fn time_or(&self, name: &'static str, otherwise: Timestamp) -> Result<Timestamp, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(otherwise);
        }
        parse_time(text).ok_or_else(|| ApiError::Parameter {
            name,
            reason: format!(
                "invalid time value for '{name}': cannot parse {} to a valid timestamp",
                quoted(text)
            ),
        })
    }

    /// A time as Loki reads it; may be left out.
    pub fn nanos_or(&self, name: &'static str, otherwise: Nanos) -> Result<Nanos, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(otherwise);
        }
        parse_nanos(text).ok_or_else(|| ApiError::Parameter {
            name,
            reason: format!("cannot parse {} to a valid timestamp", quoted(text)),
        })
    }

    /// In milliseconds.
    pub fn duration(&self, name: &'static str) -> Result<i64, ApiError> {
        self.parsed_duration(name).map_err(|reason| ApiError::Parameter { name, reason })
    }

    fn parsed_duration(&self, name: &str) -> Result<i64, String> {
        let text = self.get(name);
        let refusal = format!("cannot parse {} to a valid duration", quoted(text));
        // Prometheus counts nanoseconds: 292 years of them fit.
        if parse_seconds(text).is_some_and(|seconds| (seconds * 1e9).abs() > i64::MAX as f64) {
            return Err(refusal + ". It overflows int64");
        }
        parse_duration_ms(text).ok_or(refusal)
    }

    /// In milliseconds; `None` where it is left out or not longer than none.
    pub fn lookback(&self) -> Result<Option<i64>, ApiError> {
        const NAME: &str = "lookback_delta";
        if self.get(NAME).is_empty() {
            return Ok(None);
        }
        let lookback_ms = self.parsed_duration(NAME).map_err(|reason| {
            ApiError::BadData(format!("error parsing lookback delta duration: {reason}"))
        })?;
        Ok(Some(lookback_ms).filter(|ms| *ms > 0))
    }

    pub fn optional_duration(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        if self.get(name).is_empty() { Ok(None) } else { self.duration(name).map(Some) }
    }

    /// `limit` and its like: 0 is none.
    pub fn limit(&self, name: &'static str) -> Result<usize, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(0);
        }
        let number = parse_whole(text).map_err(|reason| ApiError::Parameter { name, reason })?;
        usize::try_from(number)
            .map_err(|_| ApiError::Parameter { name, reason: "limit must be non-negative".to_owned() })
    }

    /// `1` or `true`, `0` or `false`; left out, it is false.
    pub fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        match self.get(name) {
            "1" | "true" => Ok(true),
            "" | "0" | "false" => Ok(false),
            other => {
                let reason = format!("{} is neither 1 (true) nor 0 (false)", quoted(other));
                Err(ApiError::Parameter { name, reason })
            }
        }
    }

    /// A whole number of either sign; may be left out.
    pub fn number(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        parse_whole(text).map(Some).map_err(|_| ApiError::BadData(format!("{name} must be a number")))
    }

    /// `start` and `end` of the metadata endpoints; both may be left out.
    pub fn range(&self) -> Result<TimeRange, ApiError> {
        let start = self.time_or("start", TimeRange::ALL.after)?;
        let end = self.time_or("end", TimeRange::ALL.until)?;
        if end < start {
            return Err(ApiError::Parameter {
                name: "end",
                reason: "end timestamp must not be before start time".to_owned(),
            });
        }
        Ok(TimeRange::closed(start, end))
    }
}

/// A whole number; what is none is told in the words of Go, as clients of Prometheus know them.
pub fn parse_whole(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: ParseIntError| {
        let problem = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {}: {problem}", quoted(text))
    })
}

/// At most 128 bytes of what others sent, with control characters escaped.
pub fn quoted(text: &str) -> String {
    let mut end = text.len().min(128);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{:?}{}", &text[..end], if end < text.len() { "…" } else { "" })
}

/// Prometheus's own earliest and latest time, which its clients send back to it.
const MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME: &str = "292277025-08-18T07:12:54.999999999Z";

/// Seconds as a number, rounded to milliseconds, or RFC 3339. What lies outside our range becomes its edge.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(seconds) = parse_seconds(text) {
        let ms = seconds.trunc() * 1_000.0 + (seconds.fract() * 1_000.0).round();
        return Some((ms as Timestamp).max(Timestamp::MIN + 1));
    }
    match text {
        MIN_TIME => Some(Timestamp::MIN + 1),
        MAX_TIME => Some(Timestamp::MAX),
        _ => text.parse::<Instant>().ok().map(|instant| instant.as_millisecond()),
    }
}

/// A whole number with more digits than this counts nanoseconds, not seconds.
const SECONDS_DIGITS_MAX: usize = 10;

/// Nanoseconds or seconds as a whole number, seconds with a fraction, rounded to milliseconds, or RFC 3339.
fn parse_nanos(text: &str) -> Option<Nanos> {
    const NANOS_PER_SECOND: i64 = 1_000 * NANOS_PER_MILLI;
    if let Ok(number) = text.parse::<i64>() {
        let is_seconds = text.len() <= SECONDS_DIGITS_MAX;
        return Some(if is_seconds { number.saturating_mul(NANOS_PER_SECOND) } else { number });
    }
    if parse_seconds(text).is_some() {
        return parse_time(text).map(|ms| ms.saturating_mul(NANOS_PER_MILLI));
    }
    let nanos = text.parse::<Instant>().ok()?.as_nanosecond();
    Some(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as Nanos)
}

/// A number as Go's ParseFloat reads it, but none of its words: NaN is no time. Nor is what no float can hold.
fn parse_seconds(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if is_number { text.parse().ok().filter(|seconds: &f64| seconds.is_finite()) } else { None }
}

const YEAR: i64 = 365 * DAY;
const UNITS: [(&str, i64); 7] =
    [("y", YEAR), ("w", 7 * DAY), ("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)];

/// Seconds as a number, or a duration of Prometheus's: units from the largest to the smallest.
fn parse_duration_ms(text: &str) -> Option<i64> {
    if let Some(seconds) = parse_seconds(text) {
        let ms = (seconds * 1_000.0).round();
        return if ms.abs() < 9.2e15 { Some(ms as i64) } else { None };
    }
    let (mut rest, mut total, mut next_unit) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[digits..digits + letters])?;
        if unit < next_unit {
            return None;
        }
        next_unit = unit + 1;
        total = total.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { None } else { Some(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, ms) in [
            ("4", 4_000),
            ("1435781451.781", 1_435_781_451_781),
            ("1435781451.7816", 1_435_781_451_782),
            ("-1.5", -1_500),
            ("1e3", 1_000_000),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T20:10:51.781+00:00", 1_435_781_451_781),
            (MIN_TIME, i64::MIN + 1),
            (MAX_TIME, i64::MAX),
            ("1700000000000000000", i64::MAX),
        ] {
            assert_eq!(parse_time(text), Some(ms), "{text}");
        }
        for text in ["", "now", "NaN", "Inf", "inf", "1e400", "-1e400", "2015-07-01", "1.2.3"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn loki_times_are_nanoseconds_seconds_or_rfc_3339() {
        for (text, nanos) in [
            ("4", 4_000_000_000),
            ("1700000000", 1_700_000_000_000_000_000),
            ("17000000000", 17_000_000_000),
            ("1700000000123456789", 1_700_000_000_123_456_789),
            ("1700000000.123456789", 1_700_000_000_123_000_000),
            ("-1.5", -1_500_000_000),
            ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456_789),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000_000_000),
            ("2500-01-01T00:00:00Z", i64::MAX),
            ("99999999999999999999", i64::MAX),
        ] {
            assert_eq!(parse_nanos(text), Some(nanos), "{text}");
        }
        for text in ["", "now", "1h", "NaN", "1e400", "2023-11-14", "0x10"] {
            assert_eq!(parse_nanos(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_prometheus_units() {
        for (text, ms) in
            [("15", 15_000), ("0.5", 500), ("5m", 300_000), ("1h30m", 5_400_000), ("2ms", 2), ("-1", -1_000)]
        {
            assert_eq!(parse_duration_ms(text), Some(ms), "{text}");
        }
        for text in ["", "m", "5x", "1m1h", "1e300", "99999999999y", "5é"] {
            assert_eq!(parse_duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn the_body_comes_before_the_query_string() {
        let uri: Uri = "/q?a=2&match[]=x&match%5B%5D=y".parse().unwrap();
        let form = Form::new(&uri, &Bytes::from_static(b"a=1&match[]=z+%2B"));
        assert_eq!(form.get("a"), "1");
        assert_eq!(form.all("match[]"), ["z +", "x", "y"]);
    }

    #[test]
    fn what_is_echoed_is_short_and_escaped() {
        assert_eq!(quoted("a\u{1b}[31m"), r#""a\u{1b}[31m""#);
        assert!(quoted(&"ü".repeat(1_000)).len() < 140);
    }
}
