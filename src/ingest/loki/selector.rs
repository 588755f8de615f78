//! The labels of a pushed stream, spelled as in a query: `{app="api", env="prod"}`.

use std::borrow::Cow;

/// Where a spelling stops being one, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectorError {
    pub at: usize,
    pub expected: &'static str,
}

/// Names and values in order; neither is checked further.
pub type SelectorPairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

pub fn parse(text: &str) -> Result<SelectorPairs<'_>, SelectorError> {
    let mut reader = Reader { text, at: 0 };
    let mut pairs = Vec::new();
    reader.expect('{', "\"{\"")?;
    while !reader.take('}') {
        let name = reader.name()?;
        reader.expect('=', "\"=\"")?;
        pairs.push((name, reader.quoted()?));
        if !reader.take(',') {
            reader.expect('}', "\",\" or \"}\"")?;
            break;
        }
    }
    reader.skip_spaces();
    if reader.at < text.len() { Err(reader.error("nothing more")) } else { Ok(pairs) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, expected: &'static str) -> SelectorError {
        SelectorError { at: self.at, expected }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().bytes().take_while(u8::is_ascii_whitespace).count();
    }

    /// Steps over `wanted` and spaces before it, if it is next.
    fn take(&mut self, wanted: char) -> bool {
        self.skip_spaces();
        let is_next = self.rest().starts_with(wanted);
        self.at += if is_next { wanted.len_utf8() } else { 0 };
        is_next
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), SelectorError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn name(&mut self) -> Result<&'a str, SelectorError> {
        self.skip_spaces();
        let rest = self.rest();
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let len = rest.bytes().take_while(|byte| is_of_name(byte)).count();
        if len == 0 || rest.as_bytes()[0].is_ascii_digit() {
            return Err(self.error("a label name"));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, SelectorError> {
        if self.take('`') {
            let len = self.rest().find('`').ok_or_else(|| self.error("a closing \"`\""))?;
            let raw = &self.rest()[..len];
            self.at += len + 1;
            return Ok(Cow::Borrowed(raw));
        }
        self.expect('"', "a quoted value")?;
        let plain = self.rest().find(['"', '\\', '\n']).ok_or_else(|| self.error("a closing quote"))?;
        let value = &self.rest()[..plain];
        self.at += plain;
        if self.rest().starts_with('"') {
            self.at += 1;
            return Ok(Cow::Borrowed(value));
        }
        self.escaped(value.to_owned()).map(Cow::Owned)
    }

    /// The rest of a value with escapes in it, as Go and JSON write them.
    fn escaped(&mut self, mut value: String) -> Result<String, SelectorError> {
        loop {
            let mut rest = self.rest().chars();
            match rest.next() {
                Some('"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some('\\') => {
                    self.at += 1;
                    value.push(self.escape()?);
                }
                Some('\n') | None => return Err(self.error("a closing quote")),
                Some(plain) => {
                    self.at += plain.len_utf8();
                    value.push(plain);
                }
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, SelectorError> {
        const EXPECTED: &str = "an escape sequence";
        let kind = self.rest().chars().next().ok_or(self.error(EXPECTED))?;
        let (digits, radix) = match kind {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='3' => (3, 8),
            _ => {
                let simple = match kind {
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    '\\' | '"' | '\'' => kind,
                    _ => return Err(self.error(EXPECTED)),
                };
                self.at += kind.len_utf8();
                return Ok(simple);
            }
        };
        let from = self.at + usize::from(radix == 16);
        let number =
            self.text.get(from..from + digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let found = number.and_then(char::from_u32).ok_or(self.error(EXPECTED))?;
        self.at = from + digits;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_are_read_as_in_a_query() {
        let cases: [(&str, &[(&str, &str)]); 6] = [
            (r#"{app="api", env="prod"}"#, &[("app", "api"), ("env", "prod")]),
            (r#" { a = "1" , } "#, &[("a", "1")]),
            ("{}", &[]),
            (r#"{a="\"q\"\n\\\u00e9\x41\101",b="é"}"#, &[("a", "\"q\"\n\\éAA"), ("b", "é")]),
            ("{a=`raw \\n \"`}", &[("a", "raw \\n \"")]),
            (r#"{_9=""}"#, &[("_9", "")]),
        ];
        for (text, expected) in cases {
            let found = parse(text).unwrap();
            let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (*n, &**v)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_spelling_is_refused_where_it_stops_being_one() {
        let cases = [
            ("", 0, "\"{\""),
            ("{app}", 4, "\"=\""),
            ("{9a=\"b\"}", 1, "a label name"),
            ("{a.b=\"c\"}", 2, "\"=\""),
            ("{a=b}", 3, "a quoted value"),
            ("{a=\"b", 4, "a closing quote"),
            ("{a=\"\\", 5, "an escape sequence"),
            ("{a=\"\\q\"}", 5, "an escape sequence"),
            ("{a=\"\\ud800\"}", 5, "an escape sequence"),
            ("{a=`b}", 4, "a closing \"`\""),
            ("{a=\"b\" c=\"d\"}", 7, "\",\" or \"}\""),
            ("{a=\"b\"} x", 8, "nothing more"),
        ];
        for (text, at, expected) in cases {
            assert_eq!(parse(text), Err(SelectorError { at, expected }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn values_come_back_from_their_quotes(value in any::<String>()) {
            let quoted = serde_json::to_string(&value).unwrap();
            // JSON escapes what is beyond 16 bits only on demand, so its quotes are Go's.
            let text = format!("{{a={quoted}}}");
            prop_assert_eq!(&*parse(&text).unwrap()[0].1, value);
        }

        #[test]
        fn no_text_panics(text in r#"[{}a=",\\xuU0-9é` ]{0,40}"#) {
            let _ = parse(&text);
        }
    }
}
