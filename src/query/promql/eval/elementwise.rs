//! Functions of one vector that look at one number at a time: mathematics, rounding, the calendar.

use crate::model::Timestamp;
use crate::query::promql::functions_table::Function;

/// The function on floats that a name stands for, where it takes a vector alone.
pub fn of_float(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Ceil => f64::ceil,
        Function::Floor => f64::floor,
        Function::Exp => f64::exp,
        Function::Sqrt => f64::sqrt,
        Function::Ln => f64::ln,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Sin => f64::sin,
        Function::Cos => f64::cos,
        Function::Tan => f64::tan,
        Function::Asin => f64::asin,
        Function::Acos => f64::acos,
        Function::Atan => f64::atan,
        Function::Sinh => f64::sinh,
        Function::Cosh => f64::cosh,
        Function::Tanh => f64::tanh,
        Function::Asinh => f64::asinh,
        Function::Acosh => f64::acosh,
        Function::Atanh => f64::atanh,
        Function::Rad => |v| v * std::f64::consts::PI / 180.0,
        Function::Deg => |v| v * 180.0 / std::f64::consts::PI,
        Function::Sgn => sign,
        _ => return of_calendar(function),
    })
}

/// The part of a UTC date that a name stands for, from seconds since the epoch.
pub fn of_calendar(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Minute => |v| date_part(v, |d| f64::from(d.minute)),
        Function::Hour => |v| date_part(v, |d| f64::from(d.hour)),
        Function::DayOfWeek => |v| date_part(v, |d| f64::from(d.day_of_week)),
        Function::DayOfMonth => |v| date_part(v, |d| f64::from(d.day)),
        Function::DayOfYear => |v| date_part(v, |d| f64::from(d.day_of_year)),
        Function::DaysInMonth => |v| date_part(v, |d| f64::from(d.days_in_month)),
        Function::Month => |v| date_part(v, |d| f64::from(d.month)),
        Function::Year => |v| date_part(v, |d| d.year as f64),
        _ => return None,
    })
}

fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// To the nearest multiple, ties up. Multiplying by the inverse loses less than dividing.
pub fn round(value: f64, to_nearest: f64) -> f64 {
    let inverse = 1.0 / to_nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// Prometheus's bounds: NaN stays NaN.
pub fn clamp(value: f64, min: f64, max: f64) -> f64 {
    if value.is_nan() || min.is_nan() || max.is_nan() {
        return f64::NAN;
    }
    value.min(max).max(min)
}

/// A time as `time()` gives it.
pub fn seconds(time: Timestamp) -> f64 {
    time as f64 / 1000.0
}

struct Date {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    /// Sunday is 0.
    day_of_week: u8,
    /// From 1.
    day_of_year: u16,
    days_in_month: u8,
}

fn date_part(value: f64, part: impl Fn(&Date) -> f64) -> f64 {
    // Out of range, as Go on amd64 converts it: the smallest integer; its date is of no use but the same.
    let seconds = if value.is_nan() || value.abs() >= i64::MAX as f64 { i64::MIN } else { value as i64 };
    part(&civil(seconds))
}

/// The proleptic Gregorian date, for every i64 (jiff's calendar ends in the year 9999).
fn civil(seconds: i64) -> Date {
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    // Howard Hinnant's days_from_civil, inverted: years begin in March, so leap days come last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_march_year + 2) / 153;
    let day = (day_of_march_year - (153 * march_month + 2) / 5 + 1) as u8;
    let month = (if march_month < 10 { march_month + 3 } else { march_month - 9 }) as u8;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let is_leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: u16 = lengths[..usize::from(month) - 1].iter().map(|&d| u16::from(d as u8)).sum();
    Date {
        year,
        month,
        day,
        hour: (of_day / 3_600) as u8,
        minute: (of_day / 60 % 60) as u8,
        // 1970-01-01 was a Thursday.
        day_of_week: (days + 4).rem_euclid(7) as u8,
        day_of_year: before + u16::from(day),
        days_in_month: lengths[usize::from(month) - 1] as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_round_up_and_multiples_may_be_fractions() {
        assert_eq!([2.5, -2.5, 0.49].map(|v| round(v, 1.0)), [3.0, -2.0, 0.0]);
        assert_eq!(round(5.17, 0.1), 5.2);
    }

    #[test]
    fn dates_are_those_of_the_calendar_before_and_after_the_epoch() {
        let parts = |s: i64| {
            let d = civil(s);
            (d.year, d.month, d.day, d.hour, d.minute, d.day_of_week, d.day_of_year, d.days_in_month)
        };
        assert_eq!(parts(0), (1970, 1, 1, 0, 0, 4, 1, 31));
        assert_eq!(parts(-1), (1969, 12, 31, 23, 59, 3, 365, 31));
        assert_eq!(parts(1_456_790_399), (2016, 2, 29, 23, 59, 1, 60, 29));
        assert_eq!(parts(4_102_444_799), (2099, 12, 31, 23, 59, 4, 365, 31));
    }

    proptest::proptest! {
        #[test]
        fn the_calendar_agrees_with_jiff(seconds in -60_000_000_000i64..250_000_000_000) {
            let ours = civil(seconds);
            let theirs = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            proptest::prop_assert_eq!((ours.year, ours.month as i8, ours.day as i8),
                (theirs.year() as i64, theirs.month(), theirs.day()));
            proptest::prop_assert_eq!((ours.day_of_year as i16, ours.days_in_month as i8),
                (theirs.day_of_year(), theirs.days_in_month()));
            proptest::prop_assert_eq!(ours.day_of_week as i8, theirs.weekday().to_sunday_zero_offset());
        }
    }

    #[test]
    fn no_number_of_seconds_overflows_the_calendar() {
        for value in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e18, -1e18, 1e300] {
            of_calendar(Function::Year).unwrap()(value);
        }
    }
}
