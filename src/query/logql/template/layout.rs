//! Layouts of times: Go describes a format by how it would write Mon Jan 2 15:04:05 MST 2006.

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    LongMonth,
    Month,
    MonthNumber {
        is_padded: bool,
    },
    LongWeekday,
    Weekday,
    Day {
        pad: Pad,
    },
    YearDay {
        pad: Pad,
    },
    Hour24,
    Hour12 {
        is_padded: bool,
    },
    Minute {
        is_padded: bool,
    },
    Second {
        is_padded: bool,
    },
    LongYear,
    Year,
    Noon {
        is_upper: bool,
    },
    ZoneName,
    Zone {
        has_z: bool,
        has_colon: bool,
        has_minutes: bool,
        has_seconds: bool,
    },
    /// `.000` or `.999`: that many digits, trailing zeros shown or not.
    Fraction {
        digits: usize,
        is_fixed: bool,
        separator: char,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pad {
    None,
    Blank,
    Zero,
}

/// The spellings of the elements, longer ones before those that they begin with.
const PARTS: [(&str, Part); 36] = [
    ("January", Part::LongMonth),
    ("Jan", Part::Month),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::Weekday),
    ("MST", Part::ZoneName),
    ("002", Part::YearDay { pad: Pad::Zero }),
    ("01", Part::MonthNumber { is_padded: true }),
    ("02", Part::Day { pad: Pad::Zero }),
    ("03", Part::Hour12 { is_padded: true }),
    ("04", Part::Minute { is_padded: true }),
    ("05", Part::Second { is_padded: true }),
    ("06", Part::Year),
    ("15", Part::Hour24),
    ("1", Part::MonthNumber { is_padded: false }),
    ("2006", Part::LongYear),
    ("2", Part::Day { pad: Pad::None }),
    ("_2006", Part::LongYear),
    ("__2", Part::YearDay { pad: Pad::Blank }),
    ("_2", Part::Day { pad: Pad::Blank }),
    ("3", Part::Hour12 { is_padded: false }),
    ("4", Part::Minute { is_padded: false }),
    ("5", Part::Second { is_padded: false }),
    ("PM", Part::Noon { is_upper: true }),
    ("pm", Part::Noon { is_upper: false }),
    ("-07:00:00", zone(false, true, true, true)),
    ("-07:00", zone(false, true, true, false)),
    ("-070000", zone(false, false, true, true)),
    ("-0700", zone(false, false, true, false)),
    ("-07", zone(false, false, false, false)),
    ("Z07:00:00", zone(true, true, true, true)),
    ("Z07:00", zone(true, true, true, false)),
    ("Z070000", zone(true, false, true, true)),
    ("Z0700", zone(true, false, true, false)),
    ("Z07", zone(true, false, false, false)),
    (".", Part::Fraction { digits: 0, is_fixed: true, separator: '.' }),
    (",", Part::Fraction { digits: 0, is_fixed: true, separator: ',' }),
];

const fn zone(has_z: bool, has_colon: bool, has_minutes: bool, has_seconds: bool) -> Part {
    Part::Zone { has_z, has_colon, has_minutes, has_seconds }
}

/// A piece of a layout, and how long it is there.
pub(super) enum Piece {
    Part(Part, usize),
    Literal(char),
}

/// What stands at the start of a layout, which is not empty.
pub(super) fn piece(layout: &str) -> Piece {
    for (text, part) in PARTS {
        let Some(after) = layout.strip_prefix(text) else {
            continue;
        };
        let is_word_start = !after.starts_with(|c: char| c.is_ascii_lowercase());
        match part {
            // `Janet` is no month.
            Part::Month | Part::Weekday if !is_word_start => continue,
            Part::Fraction { separator, .. } => {
                let Some((part, len)) = fraction(after, separator) else {
                    continue;
                };
                return Piece::Part(part, len);
            }
            // `_2006` is a blank before a year.
            Part::LongYear if text.starts_with('_') => return Piece::Literal('_'),
            _ => return Piece::Part(part, text.len()),
        }
    }
    Piece::Literal(layout.chars().next().expect("a layout that is not empty has a character"))
}

/// `000` or `999` behind a separator, and no other digit behind them.
fn fraction(after: &str, separator: char) -> Option<(Part, usize)> {
    let digit = after.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let digits = after.chars().take_while(|c| *c == digit).count();
    let ends = !after[digits..].starts_with(|c: char| c.is_ascii_digit());
    let part = Part::Fraction { digits, is_fixed: digit == '0', separator };
    (ends && digits <= 9).then_some((part, digits + 1))
}
