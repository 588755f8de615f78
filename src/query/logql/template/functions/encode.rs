//! Text in the form that another language wants, and back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::RenderError;
use super::super::value::Value;
use super::{Answer, Arguments, Builtin, function};

const ANY: usize = usize::MAX;

pub(super) const ALL: &[Builtin] = &[
    function("urlencode", 1, 1, |args| args.made(url_encoded(args.text(0)?))),
    function("urlquery", 1, ANY, |args| args.made(url_encoded(&joined(args)))),
    function("urldecode", 1, 1, |args| {
        let decoded = url_decoded(args.text(0)?)?;
        args.made(decoded)
    }),
    function("b64enc", 1, 1, |args| args.made(STANDARD.encode(args.text(0)?))),
    function("b64dec", 1, 1, |args| {
        let bytes = STANDARD.decode(args.text(0)?);
        let bytes = bytes.map_err(|error| RenderError::new(format!("illegal base64 data: {error}")))?;
        args.made(String::from_utf8_lossy(&bytes).into_owned())
    }),
    function("html", 1, ANY, |args| args.made(escaped(&joined(args), html))),
    function("js", 1, ANY, |args| args.made(escaped(&joined(args), js))),
    function("fromJson", 1, 1, from_json),
];

/// The arguments as `print` writes them.
fn joined(args: &Arguments<'_, '_>) -> String {
    super::print::joined(&args.values)
}

/// As in a query's parameters: a blank is a plus.
fn url_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            _ if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn url_decoded(text: &str) -> Result<String, RenderError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
                let is_hex = hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = hex.filter(|_| is_hex).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(byte.ok_or_else(|| RenderError::new("invalid URL escape"))?);
                rest = &after[2..];
            }
            _ => bytes.push(b),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| escape(c, &mut out));
    out
}

fn html(c: char, out: &mut String) {
    match c {
        '\0' => out.push('\u{fffd}'),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(c),
    }
}

fn js(c: char, out: &mut String) {
    match c {
        '\\' => out.push_str(r"\\"),
        '\'' => out.push_str(r"\'"),
        '"' => out.push_str(r#"\""#),
        '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        _ if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        _ => out.push(c),
    }
}

/// What is no JSON gives nothing, as with Sprig.
fn from_json<'v>(args: &Arguments<'_, 'v>) -> Answer<'v> {
    let text = args.text(0)?;
    // A value takes some 48 bytes, its text two at least.
    let bytes = text.len().saturating_mul(24);
    args.budget.take(bytes.min(text.len() + 64 * text.matches([',', ':']).count()))?;
    let json = serde_json::from_str(args.text(0)?);
    Ok(json.map_or(Value::Nil, Value::from_json))
}
