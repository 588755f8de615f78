//! The walk beside prost: whatever prost can decode, both read the same, however it is encoded.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1 as wire;
use proptest::prelude::*;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use wire::metric;

use super::attributes::decoded;
use super::generated;
use super::points::{Numbers, Point};
use super::shape::{DECODED_MAX, Shape, decode};
use super::walk::{Data, DataKind, Metric, each_resource};
use crate::ingest::protobuf::{Message, Value, WireError};

/// What the walk reads, put together as prost's messages: resources without a resource but with its attributes, and
/// all metrics in one scope, since nobody asks which they came in.
fn walked(body: &[u8]) -> Result<ExportMetricsServiceRequest, WireError> {
    let mut resource_metrics = Vec::new();
    each_resource(body, |of_resource| {
        let attributes = of_resource.attributes()?;
        let mut metrics = Vec::new();
        of_resource.each_metric(|metric| {
            metrics.push(metric_of(&metric)?);
            Ok(())
        })?;
        resource_metrics.push(flat(attributes, metrics));
        Ok(())
    })?;
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

fn flat(
    attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
    metrics: Vec<wire::Metric>,
) -> wire::ResourceMetrics {
    let resource = opentelemetry_proto::tonic::resource::v1::Resource { attributes, ..Default::default() };
    let scope_metrics = vec![wire::ScopeMetrics { metrics, ..Default::default() }];
    wire::ResourceMetrics { resource: Some(resource), scope_metrics, ..Default::default() }
}

fn metric_of(metric: &Metric<'_>) -> Result<wire::Metric, WireError> {
    Ok(wire::Metric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        data: metric.data.as_ref().map(data_of).transpose()?,
        ..Default::default()
    })
}

fn data_of(data: &Data<'_>) -> Result<metric::Data, WireError> {
    let aggregation_temporality = data.temporality;
    let is_monotonic = data.is_monotonic;
    Ok(match data.kind {
        DataKind::Gauge => metric::Data::Gauge(wire::Gauge { data_points: points_of(data)? }),
        DataKind::Sum => metric::Data::Sum(wire::Sum {
            data_points: points_of(data)?,
            aggregation_temporality,
            is_monotonic,
        }),
        DataKind::Histogram => metric::Data::Histogram(wire::Histogram {
            data_points: points_of(data)?,
            aggregation_temporality,
        }),
        DataKind::ExponentialHistogram => metric::Data::ExponentialHistogram(wire::ExponentialHistogram {
            data_points: points_of(data)?,
            aggregation_temporality,
        }),
        DataKind::Summary => metric::Data::Summary(wire::Summary { data_points: points_of(data)? }),
    })
}

/// The points of a list; attributes and exemplars, which the walk leaves as they are, are put back by prost.
fn points_of<N: Numbers + Clone>(data: &Data<'_>) -> Result<Vec<N>, WireError> {
    let mut points = Vec::new();
    let mut point = Point::<N>::default();
    data.each_point(|message| {
        point.read(message)?;
        decoded(&point.attributes)?;
        for &exemplar in &point.exemplars {
            decode::<wire::Exemplar>(exemplar, Shape::Exemplar, &mut { DECODED_MAX })?;
        }
        let mut whole = point.numbers.clone();
        for (number, messages) in [(N::ATTRIBUTES, &point.attributes), (N::EXEMPLARS, &point.exemplars)] {
            for message in messages {
                let mut field = Vec::new();
                push_bytes(number, message.bytes(), &mut field);
                whole.merge(&*field).unwrap();
            }
        }
        points.push(whole);
        Ok(())
    })?;
    assert_eq!(points.len() as u64, data.point_count);
    Ok(points)
}

fn push_bytes(number: u32, bytes: &[u8], to: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

/// What prost reads, but for what nobody asks for.
fn flattened(request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest {
    let resource_metrics = request.resource_metrics.into_iter().map(|of_resource| {
        let attributes = of_resource.resource.map_or_else(Vec::new, |resource| resource.attributes);
        let metrics = of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        flat(attributes, metrics.map(|metric| wire::Metric { metadata: Vec::new(), ..metric }).collect())
    });
    ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }
}

/// Encodes a request as another sender might: fields in any order, some of them twice, some unknown, lists of numbers
/// not packed.
struct Disorder(u64);

/// What a message is, as far as that says what is in it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Request,
    ResourceMetrics,
    ScopeMetrics,
    Metric,
    Data,
    HistogramData,
    HistogramPoint,
    Other,
}

impl Kind {
    fn below(self, number: u32) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Request, 1) => Kind::ResourceMetrics,
            (Kind::ResourceMetrics, 1) => Kind::Other,
            (Kind::ResourceMetrics, 2) => Kind::ScopeMetrics,
            (Kind::ScopeMetrics, 2) => Kind::Metric,
            (Kind::Metric, 9) => Kind::HistogramData,
            (Kind::Metric, 5 | 7 | 10 | 11) => Kind::Data,
            (Kind::HistogramData, 1) => Kind::HistogramPoint,
            (Kind::Data, 1) => Kind::Other,
            _ => return None,
        })
    }
}

impl Disorder {
    fn message(&mut self, message: Message<'_>, kind: Kind) -> Vec<u8> {
        let mut fields = self.fields(message, kind);
        if self.one_in(3) {
            let again = self.fields(message, kind);
            fields.extend(again.into_iter().filter(|_| self.one_in(4)));
        }
        if self.one_in(4) {
            // A number that no message has, with every wire type.
            let unknown: [&[u8]; 4] = [
                &[0xF8, 0x3F, 0x85, 0x01],
                &[0xF9, 0x3F, 7, 7, 7, 7, 7, 7, 7, 7],
                &[0xFA, 0x3F, 2, 0xFF, 0xFF],
                &[0xFD, 0x3F, 7, 7, 7, 7],
            ];
            fields.extend(unknown.map(<[u8]>::to_vec));
        }
        if self.one_in(2) {
            for i in (1..fields.len()).rev() {
                let other = self.below(i as u64 + 1) as usize;
                fields.swap(i, other);
            }
        }
        fields.concat()
    }

    fn fields(&mut self, mut message: Message<'_>, kind: Kind) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        while let Some(field) = message.next_field().unwrap() {
            let mut bytes = Vec::new();
            match field.value {
                Value::Varint(value) => {
                    encode_key(field.number, WireType::Varint, &mut bytes);
                    encode_varint(value, &mut bytes);
                }
                Value::Fixed64(value) => push_fixed64(field.number, &value.to_le_bytes(), &mut bytes),
                Value::Fixed32(value) => {
                    encode_key(field.number, WireType::ThirtyTwoBit, &mut bytes);
                    bytes.extend(value.to_le_bytes());
                }
                Value::Bytes(packed)
                    if kind == Kind::HistogramPoint && matches!(field.number, 6 | 7) && self.one_in(2) =>
                {
                    packed.bytes().chunks(8).for_each(|value| push_fixed64(field.number, value, &mut bytes));
                }
                Value::Bytes(inner) => {
                    let content = match kind.below(field.number) {
                        Some(below) => self.message(inner, below),
                        None => inner.bytes().to_vec(),
                    };
                    push_bytes(field.number, &content, &mut bytes);
                }
            }
            fields.push(bytes);
        }
        fields
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn below(&mut self, n: u64) -> u64 {
        // Knuth's MMIX; its upper bits are the better ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn push_fixed64(number: u32, value: &[u8], to: &mut Vec<u8>) {
    encode_key(number, WireType::SixtyFourBit, to);
    to.extend_from_slice(value);
}

/// Whether a metric has data of two kinds: the former are dropped, by prost after it decoded them.
fn drops_data(body: &[u8]) -> Result<bool, WireError> {
    let mut drops = false;
    let mut look = |mut metric: Message<'_>| {
        let mut kinds = Vec::new();
        while let Some(field) = metric.next_field()? {
            kinds.extend(matches!(field.number, 5 | 7 | 9..=11).then_some(field.number));
        }
        kinds.dedup();
        drops |= kinds.len() > 1;
        Ok(())
    };
    let resources = Message::new(body);
    resources
        .each_message(1, |resource| resource.each_message(2, |scope| scope.each_message(2, &mut look)))?;
    Ok(drops)
}

proptest! {
    #[test]
    fn a_request_is_read_as_prost_reads_it(request in generated::metrics_request(), seed in any::<u64>()) {
        let ordered = request.encode_to_vec();
        prop_assert_eq!(walked(&ordered).unwrap().encode_to_vec(), flattened(request).encode_to_vec());
        let disordered = Disorder(seed).message(Message::new(&ordered), Kind::Request);
        let expected = flattened(ExportMetricsServiceRequest::decode(&*disordered).unwrap());
        // As bytes, in which each NaN is itself.
        prop_assert_eq!(walked(&disordered).unwrap().encode_to_vec(), expected.encode_to_vec());
    }

    #[test]
    fn what_prost_can_decode_is_read_alike_and_the_rest_is_refused(
        request in generated::metrics_request(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        match (walked(&bytes), ExportMetricsServiceRequest::decode(&*bytes)) {
            (Ok(walked), Ok(decoded)) => {
                prop_assert_eq!(walked.encode_to_vec(), flattened(decoded).encode_to_vec());
            }
            // Groups, which prost steps over, are the one thing that only it takes.
            (Err(error), Ok(_)) => prop_assert!(error.reason.contains("groups"), "{error:?}"),
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => prop_assert!(drops_data(&bytes).unwrap(), "{error}"),
        }
    }
}
