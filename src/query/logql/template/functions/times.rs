//! Times: of the entry, of the query, and of texts.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::RenderError;
use super::super::time::Time;
use super::super::value::Value;
use super::{Answer, Arguments, Builtin, function};

pub(super) const ALL: &[Builtin] = &[
    function("__timestamp__", 0, 0, |args| Ok(Value::Time(Time::from_nanos(args.timestamp)))),
    function("now", 0, 0, |args| Ok(Value::Time(Time::from_nanos(args.now)))),
    function("date", 2, 2, date),
    function("toDate", 2, 2, |args| to_date(args, 1, &TimeZone::UTC)),
    function("toDateInZone", 3, 3, |args| {
        let zone = zone(args.text(1)?)?;
        to_date(args, 2, &zone)
    }),
    function("unixToTime", 1, 1, unix_to_time),
    function("unixEpoch", 1, 1, |args| epoch(args, 1_000_000_000)),
    function("unixEpochMillis", 1, 1, |args| epoch(args, 1_000_000)),
    function("unixEpochNanos", 1, 1, |args| epoch(args, 1)),
];

/// `date layout time`; a number is seconds since 1970.
fn date<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let time = match &args.values[1] {
        Value::Time(time) => *time,
        Value::Int(seconds) => Time::utc(Timestamp::from_second(*seconds).map_err(|_| out_of_range())?),
        _ => Time::from_nanos(args.now),
    };
    let layout = args.text(0)?;
    let mut out = String::new();
    Time::utc(time.at).format(layout, &mut out);
    args.made(out)
}

fn to_date<'v>(args: &Arguments<'_, 'v>, text: usize, zone: &TimeZone) -> Answer<'v> {
    let time = Time::parse(args.text(0)?, args.text(text)?, zone);
    Ok(Value::Time(time.unwrap_or(Time::zero())))
}

fn zone(name: &str) -> Result<TimeZone, RenderError> {
    if matches!(name, "" | "UTC" | "Local") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| RenderError::new(format!("unknown time zone {name:?}")))
}

/// The length of the number says what it counts since 1970: days, seconds, or parts of one.
fn unix_to_time<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let text = args.text(0)?;
    let refuse = || RenderError::new(format!("unable to parse time {text:?}"));
    let number: i128 = text.parse().map_err(|_| refuse())?;
    let nanos = match text.len() {
        5 => number * 86_400_000_000_000,
        10 => number * 1_000_000_000,
        13 => number * 1_000_000,
        16 => number * 1_000,
        19 => number,
        _ => return Err(refuse()),
    };
    Ok(Value::Time(Time::utc(Timestamp::from_nanosecond(nanos).map_err(|_| refuse())?)))
}

/// How many units of so many nanoseconds are over since 1970.
fn epoch<'v>(args: &Arguments<'_, 'v>, unit: i128) -> Answer<'v> {
    match &args.values[0] {
        Value::Time(time) => args.made(time.at.as_nanosecond().div_euclid(unit).to_string()),
        other => Err(super::wrong_type("time.Time", other)),
    }
}

fn out_of_range() -> RenderError {
    RenderError::new("time out of range")
}
