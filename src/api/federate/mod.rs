//! `/federate`: the newest samples of some series as a page that another Prometheus scrapes.
//!
//! A family is a run of samples of one name and one kind, so that a name whose kind changes comes more than once, as
//! from Prometheus. Series that ended are left out, since the formats know no stale markers.

mod format;
mod protobuf;
mod text;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::json::whole_body;
use super::run_query::run_query;
use crate::model::histogram::ResetHint;
use crate::model::labels::METRIC_NAME;
use crate::model::{Histogram, Labels};
use crate::query::budget::HeldBytes;
use crate::query::{Budget, SampleValue, VectorSample};
use format::{Format, Shape};

const TEXT: &str = "text/plain; charset=utf-8";

/// Scrapers take an instance from whoever they scrape where a sample names none; this one says that there is none.
const INSTANCE: &str = "instance";

/// `GET /federate?match[]=…`.
pub async fn federate(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap) -> Response {
    answer(&api, &uri, &headers).await.unwrap_or_else(|error| error.respond(TEXT, format!("{error}\n")))
}

async fn answer(api: &Arc<Api>, uri: &Uri, headers: &HeaderMap) -> Result<Response, ApiError> {
    let form = Form::new(uri, &Default::default());
    let selectors = api.querier.all_selectors(&form.all("match[]")).map_err(ApiError::Query)?;
    let (format, now) = (Format::negotiate(headers), api.clock.now_ms());
    run_query(api, &form, move |api, budget| {
        let mut samples = api.querier.newest(&selectors, now, budget).map_err(ApiError::Query)?;
        samples.retain(|sample| !sample.labels.metric_name().is_empty() && format.shape.can_show(sample));
        let bytes_max = api.options.response_bytes_max;
        let mut page = Page::new(bytes_max, budget);
        for family in families(&samples) {
            match format.shape {
                Shape::Text => text::push_family(&mut page, &family, format.escaping)?,
                Shape::Protobuf => protobuf::push_family(&mut page, &family, format.escaping)?,
            }
        }
        let mut response = whole_body(page.bytes, TEXT, bytes_max, &api.answers)?;
        let content_type = HeaderValue::from_str(&format.content_type()).expect("it is ASCII");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    })
    .await
}

/// The page while it grows, paid for sample by sample.
struct Page<'b> {
    bytes: Vec<u8>,
    bytes_max: usize,
    bytes_paid: usize,
    held: HeldBytes<'b>,
    budget: &'b Budget,
}

impl<'b> Page<'b> {
    fn new(bytes_max: usize, budget: &'b Budget) -> Page<'b> {
        Page { bytes: Vec::new(), bytes_max, bytes_paid: 0, held: HeldBytes::none(budget), budget }
    }

    /// To be called after each sample.
    fn pay(&mut self) -> Result<(), ApiError> {
        if self.bytes.len() > self.bytes_max {
            return Err(ApiError::ResponseTooLarge { max: self.bytes_max });
        }
        self.budget.check()?;
        self.held.grow((self.bytes.len() - self.bytes_paid) as u64)?;
        self.bytes_paid = self.bytes.len();
        Ok(())
    }
}

/// What all samples of a family are; of floats nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    fn of(sample: &VectorSample) -> Kind {
        match &sample.value {
            SampleValue::Float(_) => Kind::Untyped,
            SampleValue::Histogram(histogram) if histogram.hint == ResetHint::Gauge => Kind::GaugeHistogram,
            SampleValue::Histogram(_) => Kind::Histogram,
        }
    }
}

struct Family<'a> {
    name: &'a str,
    kind: Kind,
    samples: &'a [VectorSample],
}

fn families(samples: &[VectorSample]) -> impl Iterator<Item = Family<'_>> {
    let is_same = |a: &VectorSample, b: &VectorSample| {
        a.labels.metric_name() == b.labels.metric_name() && Kind::of(a) == Kind::of(b)
    };
    samples.chunk_by(is_same).map(|samples| {
        let first = &samples[0];
        Family { name: first.labels.metric_name(), kind: Kind::of(first), samples }
    })
}

/// The labels that are shown: without the name, with an instance.
fn shown_labels(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    let missing = labels.get(INSTANCE).is_empty().then_some((INSTANCE, ""));
    labels.iter().filter(|(name, _)| *name != METRIC_NAME).chain(missing)
}

/// The buckets of a histogram with custom bounds as classic ones: upper bounds, +Inf not among them, and how many
/// observations are at or below each.
fn classic_buckets(histogram: &Histogram) -> Vec<(f64, f64)> {
    let mut filled = histogram.positive().peekable();
    let mut count = 0.0;
    let buckets = histogram.custom_bounds.iter().map(|&bound| {
        while let Some(bucket) = filled.next_if(|bucket| bucket.upper <= bound) {
            count += bucket.count;
        }
        (bound, count)
    });
    buckets.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use prost::Message;

    use super::format::Escaping;
    use super::*;
    use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
    use crate::query::budget::Limits;
    use crate::wire::metric_family::{MetricFamily, MetricType};

    fn sample(labels: &[(&str, &str)], value: SampleValue) -> VectorSample {
        let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
        VectorSample { labels, timestamp: 6_000_000, value }
    }

    fn float(labels: &[(&str, &str)], value: f64) -> VectorSample {
        sample(labels, SampleValue::Float(value))
    }

    fn histogram(labels: &[(&str, &str)], histogram: Histogram) -> VectorSample {
        sample(labels, SampleValue::Histogram(Arc::new(histogram)))
    }

    fn custom() -> Histogram {
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 6.0,
            sum: 1.234,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 2, length: 1 }],
            positive_buckets: vec![3.0, 2.0, 1.0],
            custom_bounds: vec![0.1, 0.2, 0.5, 1.0, 2.0],
            ..Histogram::default()
        }
    }

    fn native() -> Histogram {
        Histogram {
            count: 3.0,
            sum: 5.0,
            zero_threshold: 0.5,
            zero_count: 1.0,
            positive_spans: vec![Span { offset: 1, length: 1 }],
            positive_buckets: vec![2.0],
            ..Histogram::default()
        }
    }

    fn budget() -> Budget {
        let limits = Limits { samples_max: 0, series_max: 0, bytes_max: 1 << 20, log_bytes_max: 0 };
        Budget::new(Instant::now() + Duration::from_secs(600), limits)
    }

    fn text(samples: &[VectorSample], escaping: Escaping) -> String {
        let budget = budget();
        let mut page = Page::new(1 << 20, &budget);
        families(samples).for_each(|family| text::push_family(&mut page, &family, escaping).unwrap());
        String::from_utf8(page.bytes).unwrap()
    }

    #[test]
    fn a_page_ends_within_a_family_where_its_room_does() {
        let samples: Vec<VectorSample> =
            (0..1_000).map(|i| float(&[("__name__", "a"), ("i", &i.to_string())], 1.0)).collect();
        let family = families(&samples).next().unwrap();
        for push in [text::push_family, protobuf::push_family] {
            let budget = budget();
            let mut page = Page::new(2_000, &budget);
            let refused = push(&mut page, &family, Escaping::None).unwrap_err().to_string();
            assert_eq!(refused, "answer is longer than 2000 bytes (--query.max-response-bytes)");
            assert!(page.bytes.len() < 2_100, "{}", page.bytes.len());
            let mut page = Page::new(1 << 20, &budget);
            budget.take_bytes((1 << 20) - 2_000).unwrap();
            let refused = push(&mut page, &family, Escaping::None).unwrap_err().to_string();
            assert!(refused.ends_with("(--query.max-bytes)"), "{refused}");
            assert!(page.bytes.len() < 2_100, "{}", page.bytes.len());
        }
    }

    #[test]
    fn each_family_has_its_type_and_each_sample_an_instance() {
        let samples = [
            float(&[("__name__", "a"), ("foo", "b\"\\\n"), ("zoo", "z")], 10_000.0),
            float(&[("__name__", "a"), ("instance", "i")], 1e6),
            float(&[("__name__", "b:c")], f64::NEG_INFINITY),
        ];
        let page = "# TYPE a untyped\n\
                    a{foo=\"b\\\"\\\\\\n\",zoo=\"z\",instance=\"\"} 10000 6000000\n\
                    a{instance=\"i\"} 1e+06 6000000\n\
                    # TYPE b:c untyped\n\
                    b:c{instance=\"\"} -Inf 6000000\n";
        assert_eq!(text(&samples, Escaping::Underscores), page);
    }

    #[test]
    fn custom_buckets_become_classic_ones_in_text() {
        let page = "# TYPE h histogram\n\
                    h_bucket{instance=\"\",le=\"0.1\"} 3 6000000\n\
                    h_bucket{instance=\"\",le=\"0.2\"} 5 6000000\n\
                    h_bucket{instance=\"\",le=\"0.5\"} 5 6000000\n\
                    h_bucket{instance=\"\",le=\"1\"} 5 6000000\n\
                    h_bucket{instance=\"\",le=\"2\"} 6 6000000\n\
                    h_bucket{instance=\"\",le=\"+Inf\"} 6 6000000\n\
                    h_sum{instance=\"\"} 1.234 6000000\n\
                    h_count{instance=\"\"} 6 6000000\n";
        let samples = [histogram(&[("__name__", "h")], custom())];
        assert!(Shape::Text.can_show(&samples[0]));
        assert_eq!(text(&samples, Escaping::Underscores), page);
        assert!(!Shape::Text.can_show(&histogram(&[("__name__", "h")], native())));
        assert!(Shape::Protobuf.can_show(&histogram(&[("__name__", "h")], native())));
    }

    #[test]
    fn names_beyond_ascii_are_escaped_or_quoted_as_was_asked() {
        let samples = [float(&[("__name__", "a.b"), ("c.d", "é")], 1.0)];
        let quoted = "# TYPE \"a.b\" untyped\n{\"a.b\",\"c.d\"=\"é\",instance=\"\"} 1 6000000\n";
        assert_eq!(text(&samples, Escaping::None), quoted);
        let plain = "# TYPE a_b untyped\na_b{c_d=\"é\",instance=\"\"} 1 6000000\n";
        assert_eq!(text(&samples, Escaping::Underscores), plain);
    }

    #[test]
    fn a_name_whose_kind_changes_is_several_families() {
        let samples = [
            float(&[("__name__", "m"), ("i", "0")], 1.0),
            histogram(&[("__name__", "m"), ("i", "1")], native()),
            histogram(&[("__name__", "m"), ("i", "2")], Histogram { hint: ResetHint::Gauge, ..native() }),
            float(&[("__name__", "m"), ("i", "3")], 1.0),
        ];
        let budget = budget();
        let mut page = Page::new(1 << 20, &budget);
        families(&samples)
            .for_each(|family| protobuf::push_family(&mut page, &family, Escaping::Underscores).unwrap());
        let (mut rest, mut read) = (&page.bytes[..], Vec::new());
        while !rest.is_empty() {
            read.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
        }
        let kinds: Vec<MetricType> = read.iter().map(|family| family.r#type()).collect();
        use MetricType as Is;
        assert_eq!(kinds, [Is::Untyped, Is::Histogram, Is::GaugeHistogram, Is::Untyped]);
        let told = read[1].metric[0].histogram.as_ref().unwrap();
        assert_eq!(
            (told.sample_count_float, told.schema, told.zero_count_float),
            (Some(3.0), Some(0), Some(1.0))
        );
        assert_eq!((told.positive_span.len(), &told.positive_count[..]), (1, &[2.0][..]));
    }
}
