//! Times in templates: instants with an offset, as Go's `time.Time` prints, formats and parses them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time as Clock};
use jiff::tz::{Offset, TimeZone};

use super::layout::{Pad, Part, Piece, piece};

/// An instant and where its clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub at: Timestamp,
    pub offset: Offset,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Time {
    pub fn utc(at: Timestamp) -> Time {
        Time { at, offset: Offset::UTC }
    }

    /// Go's zero time, which it gives for what it could not read.
    pub fn zero() -> Time {
        let zero = Timestamp::new(-62_135_596_800, 0).expect("the year 1 is in range");
        Time::utc(zero)
    }

    pub fn from_nanos(nanos: i64) -> Time {
        Time::utc(Timestamp::from_nanosecond(i128::from(nanos)).expect("i64 nanoseconds are in range"))
    }

    fn civil(self) -> DateTime {
        self.offset.to_datetime(self.at)
    }

    /// As Go's `String` writes it.
    pub fn print(self, out: &mut String) {
        self.format("2006-01-02 15:04:05.999999999 -0700 MST", out);
    }

    /// Appends the time in the form that the layout shows.
    pub fn format(self, layout: &str, out: &mut String) {
        let civil = self.civil();
        let mut rest = layout;
        while !rest.is_empty() {
            match piece(rest) {
                Piece::Literal(c) => {
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
                Piece::Part(part, len) => {
                    self.push_part(part, civil, out);
                    rest = &rest[len..];
                }
            }
        }
    }

    fn push_part(self, part: Part, civil: DateTime, out: &mut String) {
        let month = MONTHS[civil.month().unsigned_abs() as usize - 1];
        let weekday = WEEKDAYS[civil.weekday().to_sunday_zero_offset().unsigned_abs() as usize];
        let hour12 = match civil.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        match part {
            Part::LongMonth => out.push_str(month),
            Part::Month => out.push_str(&month[..3]),
            Part::LongWeekday => out.push_str(weekday),
            Part::Weekday => out.push_str(&weekday[..3]),
            Part::MonthNumber { is_padded } => push_two(out, civil.month(), is_padded),
            Part::Day { pad: Pad::Blank } => out.push_str(&format!("{:2}", civil.day())),
            Part::Day { pad } => push_two(out, civil.day(), pad == Pad::Zero),
            Part::YearDay { pad: Pad::Blank } => out.push_str(&format!("{:3}", civil.day_of_year())),
            Part::YearDay { .. } => out.push_str(&format!("{:03}", civil.day_of_year())),
            Part::Hour24 => push_two(out, civil.hour(), true),
            Part::Hour12 { is_padded } => push_two(out, hour12, is_padded),
            Part::Minute { is_padded } => push_two(out, civil.minute(), is_padded),
            Part::Second { is_padded } => push_two(out, civil.second(), is_padded),
            Part::LongYear => out.push_str(&format!("{:04}", civil.year())),
            Part::Year => push_two(out, (civil.year() % 100).unsigned_abs(), true),
            Part::Noon { is_upper } => out.push_str(match (civil.hour() >= 12, is_upper) {
                (true, true) => "PM",
                (true, false) => "pm",
                (false, true) => "AM",
                (false, false) => "am",
            }),
            Part::ZoneName if self.offset == Offset::UTC => out.push_str("UTC"),
            // Of other zones only the offset is known; Go then writes that.
            Part::ZoneName => self.push_zone(false, self.offset.seconds() % 3600 != 0, false, out),
            Part::Zone { has_z: true, .. } if self.offset == Offset::UTC => out.push('Z'),
            Part::Zone { has_colon, has_minutes, has_seconds, .. } => {
                self.push_zone(has_colon, has_minutes, has_seconds, out);
            }
            Part::Fraction { digits, is_fixed, separator } => {
                push_fraction(out, civil.subsec_nanosecond().unsigned_abs(), digits, is_fixed, separator);
            }
        }
    }

    fn push_zone(self, has_colon: bool, has_minutes: bool, has_seconds: bool, out: &mut String) {
        let seconds = self.offset.seconds();
        let size = seconds.unsigned_abs();
        let colon = if has_colon { ":" } else { "" };
        out.push(if seconds < 0 { '-' } else { '+' });
        push_two(out, size / 3600, true);
        if has_minutes {
            out.push_str(colon);
            push_two(out, size / 60 % 60, true);
        }
        if has_seconds {
            out.push_str(colon);
            push_two(out, size % 60, true);
        }
    }

    /// Reads a time in the form that the layout shows; where that has no zone, as one of `zone`.
    pub fn parse(layout: &str, text: &str, zone: &TimeZone) -> Option<Time> {
        let mut read = Reading { year: 0, month: 1, day: 1, ..Reading::default() };
        let (mut rest, mut layout) = (text, layout);
        while !layout.is_empty() {
            match piece(layout) {
                Piece::Literal(c) => {
                    rest = rest.strip_prefix(c)?;
                    layout = &layout[c.len_utf8()..];
                }
                Piece::Part(part, len) => {
                    layout = &layout[len..];
                    rest = read.part(part, rest, layout)?;
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        read.finish(zone)
    }
}

fn push_two(out: &mut String, number: impl std::fmt::Display, is_padded: bool) {
    out.push_str(&if is_padded { format!("{number:02}") } else { format!("{number}") });
}

fn push_fraction(out: &mut String, nanos: u32, digits: usize, is_fixed: bool, separator: char) {
    let all = format!("{nanos:09}");
    let shown = &all[..digits];
    let shown = if is_fixed { shown } else { shown.trim_end_matches('0') };
    if !shown.is_empty() {
        out.push(separator);
        out.push_str(shown);
    }
}

/// What was read of a time so far.
#[derive(Default)]
struct Reading {
    year: i16,
    month: i8,
    day: i8,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    is_afternoon: Option<bool>,
    offset: Option<Offset>,
}

impl Reading {
    /// Reads one element at the start of `text`, and gives what follows it; `layout` is what follows in the layout.
    fn part<'t>(&mut self, part: Part, text: &'t str, layout: &str) -> Option<&'t str> {
        let rest = match part {
            Part::LongMonth => named(text, &MONTHS, usize::MAX, &mut self.month)?,
            Part::Month => named(text, &MONTHS, 3, &mut self.month)?,
            Part::LongWeekday => named(text, &WEEKDAYS, usize::MAX, &mut 0)?,
            Part::Weekday => named(text, &WEEKDAYS, 3, &mut 0)?,
            Part::MonthNumber { is_padded } => number(text, 1 + usize::from(is_padded), 2, &mut self.month)?,
            Part::Day { pad: Pad::Blank } => {
                number(text.strip_prefix(' ').unwrap_or(text), 1, 2, &mut self.day)?
            }
            Part::Day { pad } => number(text, 1 + usize::from(pad == Pad::Zero), 2, &mut self.day)?,
            Part::YearDay { .. } => {
                let mut day = 0;
                let rest = number(text.trim_start_matches(' '), 1, 3, &mut day)?;
                self.year_day = Some(day);
                rest
            }
            Part::Hour24 => number(text, 2, 2, &mut self.hour)?,
            Part::Hour12 { is_padded } => number(text, 1 + usize::from(is_padded), 2, &mut self.hour)?,
            Part::Minute { is_padded } => number(text, 1 + usize::from(is_padded), 2, &mut self.minute)?,
            Part::Second { is_padded } => {
                let rest = number(text, 1 + usize::from(is_padded), 2, &mut self.second)?;
                return self.fraction_behind_seconds(rest, layout);
            }
            Part::LongYear => number(text, 4, 4, &mut self.year)?,
            Part::Year => {
                let rest = number(text, 2, 2, &mut self.year)?;
                self.year += if self.year >= 69 { 1900 } else { 2000 };
                rest
            }
            Part::Noon { is_upper } => {
                let (am, pm) = if is_upper { ("AM", "PM") } else { ("am", "pm") };
                self.is_afternoon = Some(text.starts_with(pm));
                text.strip_prefix(pm).or_else(|| text.strip_prefix(am))?
            }
            Part::ZoneName => self.zone_name(text)?,
            Part::Zone { has_z: true, .. } if text.starts_with('Z') => {
                self.offset = Some(Offset::UTC);
                &text[1..]
            }
            Part::Zone { has_colon, has_minutes, has_seconds, .. } => {
                self.zone(text, has_colon, has_minutes, has_seconds)?
            }
            Part::Fraction { digits, is_fixed: true, .. } => {
                let shown = text.strip_prefix(['.', ','])?;
                let rest = shown.get(digits..)?;
                self.nanos = fraction_nanos(&shown[..digits])?;
                rest
            }
            Part::Fraction { .. } => match text.strip_prefix(['.', ',']) {
                None => text,
                Some(shown) => self.open_fraction(shown)?,
            },
        };
        Some(rest)
    }

    /// Seconds may have a fraction that the layout does not show.
    fn fraction_behind_seconds<'t>(&mut self, text: &'t str, layout: &str) -> Option<&'t str> {
        let is_shown = !layout.is_empty() && matches!(piece(layout), Piece::Part(Part::Fraction { .. }, _));
        let shown =
            text.strip_prefix(['.', ',']).filter(|shown| shown.starts_with(|c: char| c.is_ascii_digit()));
        match shown {
            Some(shown) if !is_shown => self.open_fraction(shown),
            _ => Some(text),
        }
    }

    /// All digits that are there.
    fn open_fraction<'t>(&mut self, shown: &'t str) -> Option<&'t str> {
        let digits = shown.bytes().take_while(u8::is_ascii_digit).count();
        self.nanos = fraction_nanos(&shown[..digits.min(9)])?;
        Some(&shown[digits..])
    }

    /// Three or four capitals; only those of UTC say what they mean.
    fn zone_name<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
        if !(3..=5).contains(&letters) {
            return None;
        }
        self.offset = self.offset.or(Some(Offset::UTC));
        Some(&text[letters..])
    }

    fn zone<'t>(
        &mut self,
        text: &'t str,
        has_colon: bool,
        has_minutes: bool,
        has_seconds: bool,
    ) -> Option<&'t str> {
        let is_negative = text.starts_with('-');
        let mut rest = text.strip_prefix(['+', '-'])?;
        let mut fields = [0i32; 3];
        let count = 1 + usize::from(has_minutes) + usize::from(has_seconds);
        for (i, field) in fields.iter_mut().take(count).enumerate() {
            if has_colon && i > 0 {
                rest = rest.strip_prefix(':')?;
            }
            rest = number(rest, 2, 2, field)?;
        }
        let seconds = fields[0] * 3600 + fields[1] * 60 + fields[2];
        self.offset = Some(Offset::from_seconds(if is_negative { -seconds } else { seconds }).ok()?);
        Some(rest)
    }

    fn finish(self, zone: &TimeZone) -> Option<Time> {
        let hour = match self.is_afternoon {
            None => self.hour,
            Some(_) if self.hour > 12 => return None,
            Some(is_afternoon) => self.hour % 12 + if is_afternoon { 12 } else { 0 },
        };
        let day = match self.year_day {
            Some(day) => Date::new(self.year, 1, 1).ok()?.with().day_of_year(day).build().ok()?,
            None => Date::new(self.year, self.month, self.day).ok()?,
        };
        let time = Clock::new(hour, self.minute, self.second, self.nanos).ok()?;
        let civil = day.to_datetime(time);
        match self.offset {
            Some(offset) => Some(Time { at: offset.to_timestamp(civil).ok()?, offset }),
            None => {
                let at = zone.to_timestamp(civil).ok()?;
                Some(Time { at, offset: zone.to_offset(at) })
            }
        }
    }
}

fn fraction_nanos(digits: &str) -> Option<i32> {
    let is_number = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    let padded = format!("{digits:0<9}");
    if is_number { padded.parse().ok() } else { None }
}

/// Reads a name of a list by its first letters, its place counting from one.
fn named<'t>(text: &'t str, names: &[&str], letters: usize, number: &mut i8) -> Option<&'t str> {
    let short = |name: &str| name.len().min(letters);
    let is_there = |name: &str| {
        let start = text.as_bytes().get(..short(name));
        start.is_some_and(|start| start.eq_ignore_ascii_case(&name.as_bytes()[..short(name)]))
    };
    let at = names.iter().position(|name| is_there(name))?;
    *number = i8::try_from(at + 1).ok()?;
    Some(&text[short(names[at])..])
}

/// Reads a number of that many digits.
fn number<'t, T: std::str::FromStr>(
    text: &'t str,
    least: usize,
    most: usize,
    number: &mut T,
) -> Option<&'t str> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    *number = text[..digits].parse().ok()?;
    Some(&text[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(layout: &str, nanos: i64) -> String {
        let mut out = String::new();
        Time::from_nanos(nanos).format(layout, &mut out);
        out
    }

    /// 2023-04-05 06:07:08.090102030 UTC, a Wednesday.
    const AT: i64 = 1_680_674_828_090_102_030;

    #[test]
    fn layouts_write_times_as_go_does() {
        for (layout, text) in [
            ("2006-01-02T15:04:05.000Z07:00", "2023-04-05T06:07:08.090Z"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2023-04-05T06:07:08.09010203Z"),
            ("Mon, 02 Jan 2006 15:04:05 MST", "Wed, 05 Apr 2023 06:07:08 UTC"),
            ("Monday January 2 3:4:5pm 06 -0700", "Wednesday April 5 6:7:8am 23 +0000"),
            ("_2 __2 002 03 PM .00", " 5  95 095 06 AM .09"),
            ("Janet 12 x. 1.5", "Janet 45 x. 4.8"),
            ("", ""),
        ] {
            assert_eq!(formatted(layout, AT), text, "{layout}");
        }
        let mut out = String::new();
        Time::from_nanos(AT).print(&mut out);
        assert_eq!(out, "2023-04-05 06:07:08.09010203 +0000 UTC");
        let india = Time { offset: Offset::from_seconds(19_800).unwrap(), ..Time::from_nanos(0) };
        out.clear();
        india.format("15:04 -07:00 Z0700 MST", &mut out);
        assert_eq!(out, "05:30 +05:30 +0530 +0530");
    }

    #[test]
    fn layouts_read_times_as_go_does() {
        let read = |layout, text| Time::parse(layout, text, &TimeZone::UTC).map(|time| time.at.to_string());
        for (layout, text, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2023-04-05T06:07:08.09+02:00", "2023-04-05T04:07:08.09Z"),
            ("2006-01-02 15:04:05", "2023-04-05 06:07:08", "2023-04-05T06:07:08Z"),
            ("Jan _2 3:04PM 2006", "apr  5 6:07PM 2023", "2023-04-05T18:07:00Z"),
            ("02/Jan/2006:15:04:05 -0700", "05/Apr/2023:06:07:08 -0130", "2023-04-05T07:37:08Z"),
            ("06-002", "99-365", "1999-12-31T00:00:00Z"),
            ("2006-01-02 MST", "2023-04-05 UTC", "2023-04-05T00:00:00Z"),
        ] {
            assert_eq!(read(layout, text).as_deref(), Some(expected), "{layout} {text}");
        }
        for (layout, text) in [
            ("2006-01-02", "2023-02-30"),
            ("2006-01-02", "2023-04-05 "),
            ("2006-01-02", "23-04-05"),
            ("15:04", "25:00"),
            (".000", ".0é"),
            ("Jan", "Ja"),
        ] {
            assert_eq!(read(layout, text), None, "{layout} {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(nanos: i64) {
            let layout = "2006-01-02T15:04:05.999999999Z07:00";
            let text = formatted(layout, nanos);
            let read = Time::parse(layout, &text, &TimeZone::UTC);
            proptest::prop_assert_eq!(read, Some(Time::from_nanos(nanos)), "{}", text);
        }

        #[test]
        fn no_text_panics(layout in "\\PC{0,12}|[-0-9.,_:JanMonMSTPMZ ]{0,24}", text in "\\PC{0,12}|[-0-9.,:+Z ]{0,24}") {
            formatted(&layout, AT);
            let _ = Time::parse(&layout, &text, &TimeZone::UTC);
        }
    }
}
