//! Go's `Sprintf` for the values of templates.

use super::RenderError;
use super::run::Budget;
use super::value::{Value, exponent_float, general_float, special_float};
use crate::query::lexical::strings::{quote, quote_char};

/// `%-08.3f`: what stands between the percent sign and the verb.
#[derive(Default)]
struct Spec {
    is_left: bool,
    has_plus: bool,
    has_blank: bool,
    is_sharp: bool,
    has_zeros: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Go's own limit on widths and precisions.
const WIDTH_MAX: i64 = 1_000_000;

pub(super) fn printf(format: &str, values: &[Value<'_>], budget: &Budget) -> Result<String, RenderError> {
    let (mut out, mut rest, mut next) = (String::new(), format, 0);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let spec = Spec::read(&mut rest, values, &mut next);
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.get(next) else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        next += 1;
        budget.take(spec.width.unwrap_or(0).saturating_add(spec.precision.unwrap_or(0)))?;
        let before = out.len();
        spec.push(&mut out, verb, value);
        budget.take(out.len() - before)?;
    }
    out.push_str(rest);
    if next < values.len() {
        let extra: Vec<String> =
            values[next..].iter().map(|value| format!("{}={}", value.type_name(), value.printed())).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    budget.take(format.len())?;
    Ok(out)
}

impl Spec {
    /// Reads flags, width and precision at the start of `rest`; a `*` takes its number from the values.
    fn read(rest: &mut &str, values: &[Value<'_>], next: &mut usize) -> Spec {
        let mut spec = Spec::default();
        while let Some(flag) = rest.chars().next() {
            match flag {
                '-' => spec.is_left = true,
                '+' => spec.has_plus = true,
                ' ' => spec.has_blank = true,
                '#' => spec.is_sharp = true,
                '0' => spec.has_zeros = true,
                _ => break,
            }
            *rest = &rest[1..];
        }
        let width = number(rest, values, next);
        spec.is_left |= width.is_some_and(|width| width < 0);
        spec.width = width.map(|width| width.unsigned_abs().min(WIDTH_MAX.unsigned_abs()) as usize);
        if let Some(behind) = rest.strip_prefix('.') {
            *rest = behind;
            let precision = number(rest, values, next).unwrap_or(0);
            spec.precision = usize::try_from(precision.min(WIDTH_MAX)).ok();
        }
        spec
    }

    fn push(&self, out: &mut String, verb: char, value: &Value<'_>) {
        match (verb, value) {
            ('T', value) => self.pad(out, value.type_name()),
            ('v', Value::Float(number)) => self.float(out, 'g', *number),
            ('v', Value::Int(number)) => self.int(out, *number, |number| number.to_string()),
            ('v', Value::Text(text)) if self.is_sharp => self.pad(out, &quote(text.as_bytes())),
            ('v', value) => self.text(out, &value.printed()),
            ('t', Value::Bool(_)) => self.pad(out, &value.printed()),
            ('s', Value::Text(_) | Value::Time(_)) => self.text(out, &value.printed()),
            ('q', Value::Text(text)) => self.pad(out, &quote(self.shortened(text).as_bytes())),
            ('x', Value::Text(text)) => self.pad(out, &hex(self.shortened(text), false)),
            ('X', Value::Text(text)) => self.pad(out, &hex(self.shortened(text), true)),
            ('d', Value::Int(number)) => self.int(out, *number, |number| number.to_string()),
            ('b', Value::Int(number)) => self.int(out, *number, |number| format!("{number:b}")),
            ('o', Value::Int(number)) => {
                let mark = if self.is_sharp { "0" } else { "" };
                self.int(out, *number, |number| format!("{mark}{number:o}"));
            }
            ('O', Value::Int(number)) => self.int(out, *number, |number| format!("0o{number:o}")),
            ('x', Value::Int(number)) => {
                let mark = if self.is_sharp { "0x" } else { "" };
                self.int(out, *number, |number| format!("{mark}{number:x}"));
            }
            ('X', Value::Int(number)) => {
                let mark = if self.is_sharp { "0X" } else { "" };
                self.int(out, *number, |number| format!("{mark}{number:X}"));
            }
            ('c', Value::Int(number)) => self.pad(out, &character(*number).to_string()),
            ('q', Value::Int(number)) => self.pad(out, &quote_char(character(*number))),
            ('U', Value::Int(number)) => self.pad(out, &format!("U+{number:04X}")),
            ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(number)) => self.float(out, verb, *number),
            (verb, Value::Nil) => out.push_str(&format!("%!{verb}(<nil>)")),
            (verb, Value::List(items)) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { " " } else { "" });
                    self.push(out, verb, item);
                }
                out.push(']');
            }
            (verb, value) => {
                out.push_str(&format!("%!{verb}({}={})", value.type_name(), value.printed()));
            }
        }
    }

    /// The first characters, as many as the precision allows.
    fn shortened<'t>(&self, text: &'t str) -> &'t str {
        let end = self.precision.and_then(|count| text.char_indices().nth(count));
        &text[..end.map_or(text.len(), |(at, _)| at)]
    }

    fn text(&self, out: &mut String, text: &str) {
        self.pad(out, self.shortened(text));
    }

    fn pad(&self, out: &mut String, text: &str) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        let filler = if self.has_zeros && !self.is_left { "0" } else { " " };
        if !self.is_left {
            out.push_str(&filler.repeat(missing));
        }
        out.push_str(text);
        if self.is_left {
            out.push_str(&filler.repeat(missing));
        }
    }

    /// A number with its sign; zeros go between the two.
    fn signed(&self, out: &mut String, is_negative: bool, digits: &str, allows_zeros: bool) {
        let sign = match (is_negative, self.has_plus, self.has_blank) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        if self.has_zeros && !self.is_left && allows_zeros {
            out.push_str(sign);
            let width = self.width.map(|width| width.saturating_sub(sign.len()));
            Spec { width, has_zeros: true, ..Spec::default() }.pad(out, digits);
        } else {
            let blank = Spec { width: self.width, is_left: self.is_left, ..Spec::default() };
            blank.pad(out, &format!("{sign}{digits}"));
        }
    }

    fn int(&self, out: &mut String, number: i64, digits: impl Fn(u64) -> String) {
        let mut text = digits(number.unsigned_abs());
        if let Some(precision) = self.precision {
            text = format!("{}{text}", "0".repeat(precision.saturating_sub(text.len())));
        }
        self.signed(out, number < 0, &text, self.precision.is_none());
    }

    fn float(&self, out: &mut String, verb: char, number: f64) {
        if !number.is_finite() {
            let text = special_float(number);
            let text = if number.is_nan() || self.has_plus { text } else { text.trim_start_matches('+') };
            let shown = if number > 0.0 && !self.has_plus { "+Inf" } else { text };
            return Spec { width: self.width, is_left: self.is_left, ..Spec::default() }.pad(out, shown);
        }
        let size = number.abs();
        // More digits than these are zeros.
        let precision = self.precision.map(|digits| digits.min(1100));
        let text = match (verb, precision) {
            ('f' | 'F', precision) => format!("{size:.*}", precision.unwrap_or(6)),
            ('e' | 'E', precision) => exponent_float(&format!("{size:.*e}", precision.unwrap_or(6))),
            (_, None) => general_float(size),
            (_, Some(digits)) => shortest(size, digits.max(1)),
        };
        let text = if verb.is_ascii_uppercase() { text.to_ascii_uppercase() } else { text };
        self.signed(out, number.is_sign_negative(), &text, true);
    }
}

/// `%.3g`: so many digits, with an exponent where there are more before the point or four zeros behind it.
fn shortest(size: f64, digits: usize) -> String {
    let scientific = format!("{size:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i64 {
        return exponent_float(&format!("{}e{exponent}", without_zeros(mantissa)));
    }
    let behind = usize::try_from(digits as i64 - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{size:.behind$}"))
}

fn number(rest: &mut &str, values: &[Value<'_>], next: &mut usize) -> Option<i64> {
    if let Some(behind) = rest.strip_prefix('*') {
        *rest = behind;
        let value = values.get(*next);
        *next += 1;
        return match value {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        };
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse::<i64>();
    *rest = &rest[digits..];
    if digits == 0 { None } else { Some(number.unwrap_or(WIDTH_MAX).min(WIDTH_MAX)) }
}

fn character(number: i64) -> char {
    u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn hex(text: &str, is_upper: bool) -> String {
    let digits = text.bytes().map(|b| if is_upper { format!("{b:02X}") } else { format!("{b:02x}") });
    digits.collect()
}
