//! Parameters as Loki reads them, and what it takes where one is missing.

use axum::http::HeaderMap;

use crate::api::error::ApiError;
use crate::api::form::{Form, quoted};
use crate::model::nanos::NANOS_PER_MILLI;
use crate::model::time::{HOUR, SECOND};
use crate::model::{NanoRange, Nanos};
use crate::query::logs::Direction;

/// How far back a query looks that names no start.
pub const QUERY_SINCE_MS: i64 = HOUR;
/// The same for lists of labels.
pub const LABELS_SINCE_MS: i64 = 6 * HOUR;

const ENTRIES_DEFAULT: usize = 100;
/// Without a step, a range has about as many points.
const STEPS_DEFAULT: i64 = 250;
/// Prometheus's and Loki's, so that a line on a screen has a few points for each pixel and no more.
const POINTS_MAX: i64 = 11_000;

/// From `start` to `end`; what each edge belongs to is the endpoint's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub start: Nanos,
    pub end: Nanos,
}

impl Bounds {
    /// `start`, `end` and `since`. A start that is missing lies `since` before the end, or before now where the end is
    /// still to come.
    pub fn of(form: &Form, now: Nanos, since_default_ms: i64) -> Result<Bounds, ApiError> {
        let since = form.optional_duration("since")?.unwrap_or(since_default_ms);
        let end = form.nanos_or("end", now)?;
        let before = end.min(now).saturating_sub(since.saturating_mul(NANOS_PER_MILLI));
        let start = form.nanos_or("start", before)?;
        if end < start {
            let text = "end timestamp must not be before or equal to start time";
            return Err(ApiError::BadData(text.to_owned()));
        }
        Ok(Bounds { start, end })
    }

    /// Both edges belong to it.
    pub fn closed(self) -> NanoRange {
        NanoRange::closed(self.start, self.end)
    }

    /// `step` in nanoseconds, or the one that gives some 250 points, in whole seconds.
    pub fn step_ns(self, form: &Form) -> Result<i64, ApiError> {
        let millis = self.end.saturating_sub(self.start) / NANOS_PER_MILLI;
        let default_ms = (millis / SECOND / STEPS_DEFAULT).max(1) * SECOND;
        let step_ms = form.optional_duration("step")?.unwrap_or(default_ms);
        if step_ms <= 0 {
            return Err(ApiError::BadData(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            ));
        }
        if millis / step_ms > POINTS_MAX {
            return Err(ApiError::BadData(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the \
                 step parameter"
                    .to_owned(),
            ));
        }
        Ok(step_ms.saturating_mul(NANOS_PER_MILLI))
    }
}

/// The number of entries wanted.
pub fn entries(form: &Form) -> Result<usize, ApiError> {
    positive(form, "limit", ENTRIES_DEFAULT)
}

/// A whole number above zero.
pub fn positive(form: &Form, name: &'static str, otherwise: usize) -> Result<usize, ApiError> {
    if form.get(name).is_empty() {
        return Ok(otherwise);
    }
    match form.limit(name)? {
        0 => Err(ApiError::Parameter { name, reason: "limit must be a positive value".to_owned() }),
        number => Ok(number),
    }
}

pub fn direction(form: &Form) -> Result<Direction, ApiError> {
    match form.get("direction").to_ascii_lowercase().as_str() {
        "" | "backward" => Ok(Direction::Backward),
        "forward" => Ok(Direction::Forward),
        other => Err(ApiError::Parameter {
            name: "direction",
            reason: format!("{} is neither forward nor backward", quoted(other)),
        }),
    }
}

/// `interval`: the least time between two entries that are given; 0 is none.
pub fn interval_ns(form: &Form) -> Result<i64, ApiError> {
    match form.optional_duration("interval")?.unwrap_or(0) {
        ms @ 0.. => Ok(ms.saturating_mul(NANOS_PER_MILLI)),
        _ => Err(ApiError::Parameter {
            name: "interval",
            reason: "interval must be greater than or equal to 0".to_owned(),
        }),
    }
}

/// The expression, where one is given.
pub fn optional_query(form: &Form) -> Option<String> {
    Some(form.get("query").trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// How the labels of entries are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Structured metadata and parsed labels become labels of the stream.
    Flat,
    /// Each entry has its own, beside those of its stream.
    Categorized,
}

pub const CATEGORIZE_LABELS: &str = "categorize-labels";

impl Encoding {
    /// What `X-Loki-Response-Encoding-Flags` asks for.
    pub fn of(headers: &HeaderMap) -> Encoding {
        let values = headers.get_all("x-loki-response-encoding-flags").iter();
        let mut flags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        match flags.any(|flag| flag.trim() == CATEGORIZE_LABELS) {
            true => Encoding::Categorized,
            false => Encoding::Flat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: i64 = 60_000_000_000;
    const HOUR_NS: i64 = 60 * MINUTE_NS;
    const NOW: Nanos = 1_700_000_000_000_000_000;

    fn form(query: &str) -> Form {
        Form::new(&format!("/q?{query}").parse().unwrap(), &Default::default())
    }

    fn bounds(query: &str) -> Result<Bounds, String> {
        Bounds::of(&form(query), NOW, QUERY_SINCE_MS).map_err(|error| error.to_string())
    }

    #[test]
    fn a_range_is_an_hour_before_now_unless_told_otherwise() {
        for (query, start, end) in [
            ("", NOW - HOUR_NS, NOW),
            ("since=5m", NOW - 5 * MINUTE_NS, NOW),
            ("since=300", NOW - 5 * MINUTE_NS, NOW),
            ("end=1600000000", 1_600_000_000_000_000_000 - HOUR_NS, 1_600_000_000_000_000_000),
            ("end=1800000000", NOW - HOUR_NS, 1_800_000_000_000_000_000),
            ("start=2023-11-14T22:13:19.5Z", NOW - 500_000_000, NOW),
            ("start=1699999999999999999&end=1700000000.5", NOW - 1, NOW + 500_000_000),
            ("start=1699999999999999999&since=5m", NOW - 1, NOW),
        ] {
            assert_eq!(bounds(query), Ok(Bounds { start, end }), "{query}");
        }
        assert_eq!(
            bounds("start=2&end=1").unwrap_err(),
            "end timestamp must not be before or equal to start time"
        );
        assert!(bounds("start=yesterday").unwrap_err().contains("\"start\""));
        assert!(bounds("since=soon").unwrap_err().contains("\"since\""));
    }

    #[test]
    fn a_step_that_is_missing_gives_some_250_points() {
        let step = |length_ns: i64, query: &str| {
            Bounds { start: NOW, end: NOW + length_ns }.step_ns(&form(query)).map_err(|e| e.to_string())
        };
        assert_eq!(step(HOUR_NS, ""), Ok(14_000_000_000));
        assert_eq!(step(MINUTE_NS, ""), Ok(1_000_000_000));
        assert_eq!(step(HOUR_NS, "step=15000ms"), Ok(15_000_000_000));
        assert_eq!(step(HOUR_NS, "step=0.5"), Ok(500_000_000));
        assert!(step(HOUR_NS, "step=0").unwrap_err().contains("zero or negative"));
        assert!(step(HOUR_NS, "step=-5").unwrap_err().contains("zero or negative"));
        assert!(step(24 * HOUR_NS, "step=1").unwrap_err().contains("11,000 points"));
        let all = Bounds { start: i64::MIN, end: i64::MAX };
        assert!(all.step_ns(&form("")).is_ok(), "the longest range has no more points than another");
    }

    #[test]
    fn limits_and_directions_have_lokis_defaults() {
        assert_eq!(entries(&form("")).unwrap(), 100);
        assert_eq!(entries(&form("limit=7")).unwrap(), 7);
        for query in ["limit=0", "limit=-1", "limit=x"] {
            assert!(entries(&form(query)).is_err(), "{query}");
        }
        assert_eq!(direction(&form("")).unwrap(), Direction::Backward);
        assert_eq!(direction(&form("direction=FORWARD")).unwrap(), Direction::Forward);
        assert!(direction(&form("direction=up")).is_err());
        assert_eq!(interval_ns(&form("interval=10s")).unwrap(), 10_000_000_000);
        assert!(interval_ns(&form("interval=-1")).is_err());
    }

    #[test]
    fn the_flag_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(Encoding::of(&headers), Encoding::Flat);
        headers.insert("X-Loki-Response-Encoding-Flags", "other, categorize-labels".parse().unwrap());
        assert_eq!(Encoding::of(&headers), Encoding::Categorized);
    }
}
