//! String literals: `"…"` and `'…'` with Go's escapes, `` `…` `` raw; all of them bytes.

/// A literal that does not end or has a bad escape; `offset` is that of the offending byte in the text read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringError {
    pub offset: usize,
    pub message: String,
}

/// Reads the literal at the start of `text`, which begins with a quote: its bytes, and its length in the text.
pub fn unquote(text: &str) -> Result<(Vec<u8>, usize), StringError> {
    let quote = text.as_bytes()[0];
    if quote == b'`' {
        return match text[1..].find('`') {
            Some(len) => Ok((text.as_bytes()[1..1 + len].to_vec(), len + 2)),
            None => refuse(0, "unterminated raw string"),
        };
    }
    let (mut value, mut at) = (Vec::new(), 1);
    loop {
        match text.as_bytes().get(at) {
            None | Some(b'\n') => return refuse(0, "unterminated quoted string"),
            Some(&b) if b == quote => return Ok((value, at + 1)),
            Some(b'\\') => at += 1 + push_escape(&mut value, text, at + 1, quote)?,
            Some(&b) => {
                value.push(b);
                at += 1;
            }
        }
    }
}

/// The literal that reads back as `value`, as Go's `%q` writes it.
pub fn quote(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for chunk in value.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_quoted(&mut out, c));
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out.push('"');
    out
}

/// One character in single quotes, as Go's `%q` writes it in error texts.
pub fn quote_char(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        _ => {
            let mut out = "'".to_owned();
            push_quoted(&mut out, c);
            out + "'"
        }
    }
}

fn push_quoted(out: &mut String, c: char) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\x07' => out.push_str(r"\a"),
        '\x08' => out.push_str(r"\b"),
        '\x0c' => out.push_str(r"\f"),
        '\n' => out.push_str(r"\n"),
        '\r' => out.push_str(r"\r"),
        '\t' => out.push_str(r"\t"),
        '\x0b' => out.push_str(r"\v"),
        _ if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        _ if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        _ => out.push(c),
    }
}

fn refuse<T>(offset: usize, message: impl Into<String>) -> Result<T, StringError> {
    Err(StringError { offset, message: message.into() })
}

/// Writes what the escape at `at`, behind the backslash, stands for; gives its length.
fn push_escape(value: &mut Vec<u8>, text: &str, at: usize, quote: u8) -> Result<usize, StringError> {
    let Some(c) = text[at..].chars().next() else {
        return refuse(0, "escape sequence not terminated");
    };
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        _ if c == char::from(quote) => quote,
        '0'..='7' => return push_code(value, text, at, (3, 8)),
        'x' => return push_code(value, text, at + 1, (2, 16)).map(|len| len + 1),
        'u' => return push_code(value, text, at + 1, (4, 16)).map(|len| len + 1),
        'U' => return push_code(value, text, at + 1, (8, 16)).map(|len| len + 1),
        _ => return refuse(0, format!("unknown escape sequence {}", code_point(c))),
    };
    value.push(simple);
    Ok(1)
}

/// Reads exactly `digits` of the base at `at`: two or three name a byte, four or eight a character.
fn push_code(
    value: &mut Vec<u8>,
    text: &str,
    at: usize,
    (digits, base): (usize, u32),
) -> Result<usize, StringError> {
    let mut code = 0u32;
    let mut chars = text[at..].chars();
    for _ in 0..digits {
        let Some(c) = chars.next() else {
            return refuse(0, "escape sequence not terminated");
        };
        let Some(digit) = c.to_digit(base) else {
            return refuse(0, format!("illegal character {} in escape sequence", code_point(c)));
        };
        code = code.wrapping_mul(base).wrapping_add(digit);
    }
    const INVALID: &str = "escape sequence is an invalid Unicode code point";
    if digits < 4 {
        match u8::try_from(code) {
            Ok(byte) => value.push(byte),
            Err(_) => return refuse(0, INVALID),
        }
    } else {
        match char::from_u32(code) {
            Some(c) => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => return refuse(0, INVALID),
        }
    }
    Ok(digits)
}

/// `U+0063 'c'`.
fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_write_bytes_that_need_not_be_utf8() {
        let read = |text: &str| unquote(text).unwrap().0;
        assert_eq!(read(r#""\xc5\377""#), [0xc5, 0xff]);
        assert_eq!(read(r#"'\'"\u00e9'"#), "'\"é".as_bytes());
        assert_eq!(read(r"`a\b`"), br"a\b");
        assert_eq!(unquote(r#""ab" + 1"#).unwrap(), (b"ab".to_vec(), 4));
    }

    #[test]
    fn a_bad_literal_is_refused_in_prometheuss_words() {
        let refused = |text: &str| unquote(text).unwrap_err().message;
        assert_eq!(refused(r#""\c""#), "unknown escape sequence U+0063 'c'");
        assert_eq!(refused(r#""\x.""#), "illegal character U+002E '.' in escape sequence");
        assert_eq!(refused(r#""\"#), "escape sequence not terminated");
        assert_eq!(refused(r#""\ud800""#), "escape sequence is an invalid Unicode code point");
        assert_eq!(refused(r#""\777""#), "escape sequence is an invalid Unicode code point");
        assert_eq!(refused("\"a\nb\""), "unterminated quoted string");
        assert_eq!(refused("`a"), "unterminated raw string");
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_reads_back(value: Vec<u8>) {
            let quoted = quote(&value);
            proptest::prop_assert_eq!(unquote(&quoted), Ok((value, quoted.len())));
        }

        #[test]
        fn any_text_reads_or_is_refused(text in "[\"'`][\\\\a-fxuU0-9é\"]{0,12}") {
            let _ = unquote(&text);
        }
    }
}
