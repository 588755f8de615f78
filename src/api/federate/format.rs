//! Which format a scraper asks for, and how it wants names that older readers cannot take.

use axum::http::{HeaderMap, header};

use crate::query::{SampleValue, VectorSample};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// Messages, each behind its length.
    Protobuf,
}

impl Shape {
    /// Text has no native histograms; those with custom buckets become classic ones in it.
    pub fn can_show(self, sample: &VectorSample) -> bool {
        match &sample.value {
            SampleValue::Histogram(histogram) => self == Shape::Protobuf || histogram.has_custom_buckets(),
            SampleValue::Float(_) => true,
        }
    }
}

/// What becomes of a name that is more than letters, digits, `_` and `:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// Nothing: it is quoted where the format needs it.
    None,
    Underscores,
    Dots,
    Values,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub shape: Shape,
    pub escaping: Escaping,
}

impl Format {
    /// The best of what the scraper accepts; text if it accepts nothing that we write.
    pub fn negotiate(headers: &HeaderMap) -> Format {
        let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut offers: Vec<Offer> = texts.flat_map(|text| text.split(',')).map(Offer::parse).collect();
        offers.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let mut escaping = Escaping::Underscores;
        for offer in offers {
            // Prometheus lets an offer that it does not take say this for those behind it.
            escaping = offer.escaping().unwrap_or(escaping);
            if let Some(shape) = offer.shape() {
                return Format { shape, escaping };
            }
        }
        Format { shape: Shape::Text, escaping }
    }

    pub fn content_type(self) -> String {
        let shape = match self.shape {
            Shape::Text => "text/plain; version=0.0.4; charset=utf-8",
            Shape::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        };
        let escaping = match self.escaping {
            Escaping::None => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        };
        format!("{shape}; escaping={escaping}")
    }
}

/// One part of an `Accept` header.
struct Offer<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f64,
}

impl Offer<'_> {
    fn parse(text: &str) -> Offer<'_> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("");
        let pairs = parts.filter_map(|part| part.split_once('='));
        let parameters: Vec<_> =
            pairs.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))).collect();
        let mut offer = Offer { media_type, parameters, quality: 1.0 };
        offer.quality = offer.parameter("q").parse().unwrap_or(1.0);
        offer
    }

    fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    fn shape(&self) -> Option<Shape> {
        match self.media_type {
            "application/vnd.google.protobuf" => {
                let is_ours = self.parameter("proto") == "io.prometheus.client.MetricFamily"
                    && self.parameter("encoding") == "delimited";
                is_ours.then_some(Shape::Protobuf)
            }
            "text/plain" => matches!(self.parameter("version"), "" | "0.0.4").then_some(Shape::Text),
            _ => None,
        }
    }

    fn escaping(&self) -> Option<Escaping> {
        match self.parameter("escaping") {
            "allow-utf-8" => Some(Escaping::None),
            "underscores" => Some(Escaping::Underscores),
            "dots" => Some(Escaping::Dots),
            "values" => Some(Escaping::Values),
            _ => None,
        }
    }
}

/// A name that needs no quotes in any format.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(i, c)| is_plain_char(c, i == 0))
}

fn is_plain_char(c: char, is_first: bool) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':' || (c.is_ascii_digit() && !is_first)
}

/// The name as it is shown. Plain names stay as they are.
pub fn escaped(name: &str, escaping: Escaping) -> String {
    if escaping == Escaping::None || is_plain(name) {
        return name.to_owned();
    }
    let mut out = String::from(if escaping == Escaping::Values { "U__" } else { "" });
    for (i, c) in name.chars().enumerate() {
        match escaping {
            Escaping::Dots if c == '.' => out.push_str("_dot_"),
            Escaping::Dots | Escaping::Values if c == '_' => out.push_str("__"),
            _ if is_plain_char(c, i == 0) => out.push(c),
            Escaping::Dots => out.push_str("__"),
            Escaping::Values => out.push_str(&format!("_{:x}_", u32::from(c))),
            Escaping::None | Escaping::Underscores => out.push('_'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn negotiated(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        Format::negotiate(&headers)
    }

    const PROTOBUF: &str =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

    #[test]
    fn scrapers_get_the_best_of_what_they_accept() {
        for (accept, shape, escaping) in [
            ("", Shape::Text, Escaping::Underscores),
            ("*/*", Shape::Text, Escaping::Underscores),
            (PROTOBUF, Shape::Protobuf, Escaping::Underscores),
            (
                &format!("text/plain;version=0.0.4;q=0.3,*/*;q=0.2,{PROTOBUF};q=0.6"),
                Shape::Protobuf,
                Escaping::Underscores,
            ),
            (&format!("{PROTOBUF};q=0.1,text/plain;q=0.5"), Shape::Text, Escaping::Underscores),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,text/plain",
                Shape::Text,
                Escaping::None,
            ),
            ("text/plain;version=0.0.4;escaping=values", Shape::Text, Escaping::Values),
            ("text/plain;version=1.0.0;escaping=dots", Shape::Text, Escaping::Dots),
            ("text/plain;escaping=nonsense", Shape::Text, Escaping::Underscores),
        ] {
            assert_eq!(negotiated(accept), Format { shape, escaping }, "{accept}");
        }
        let content_type = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
        assert_eq!(negotiated("").content_type(), content_type);
    }

    #[test]
    fn names_are_escaped_as_prometheus_escapes_them() {
        for (name, underscores, dots, values) in [
            ("no:escaping_9", "no:escaping_9", "no:escaping_9", "no:escaping_9"),
            ("my.dotted_name", "my_dotted_name", "my_dot_dotted__name", "U__my_2e_dotted__name"),
            ("9é", "__", "____", "U___39__e9_"),
        ] {
            assert_eq!(escaped(name, Escaping::Underscores), underscores);
            assert_eq!(escaped(name, Escaping::Dots), dots);
            assert_eq!(escaped(name, Escaping::Values), values);
            assert_eq!(escaped(name, Escaping::None), name);
        }
    }
}
