//! A request of metrics, read in place: whose they are, which metrics, and the messages of their points.
//!
//! What a field says twice is read as protobuf has it: lists go on, of the rest the last one counts. What no series
//! comes of is not kept, and not all of it is checked.

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::attributes::decoded;
use super::shape::{DECODED_MAX, Shape, check, check_counted, check_text};
use crate::ingest::protobuf::{Message, WireError};

/// A `ResourceMetrics`.
#[derive(Clone, Copy)]
pub(super) struct ResourceMetrics<'a>(Message<'a>);

/// A `Metric`.
#[derive(Default)]
pub(super) struct Metric<'a> {
    pub name: &'a str,
    pub description: &'a str,
    pub unit: &'a str,
    pub data: Option<Data<'a>>,
}

/// What a metric measured.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub kind: DataKind,
    /// As sent, 0 for a kind that has none.
    pub temporality: i32,
    pub is_monotonic: bool,
    pub point_count: u64,
    /// The fields of the metric from the first of this kind on; after it none is of another.
    fields: Message<'a>,
}

/// By the numbers of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataKind {
    Gauge = 5,
    Sum = 7,
    Histogram = 9,
    ExponentialHistogram = 10,
    Summary = 11,
}

/// Calls `each` with every resource of an encoded `ExportMetricsServiceRequest`.
pub(super) fn each_resource<'a>(
    body: &'a [u8],
    mut each: impl FnMut(ResourceMetrics<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    Message::new(body).each_message(1, |message| each(ResourceMetrics(message)))
}

impl<'a> ResourceMetrics<'a> {
    /// Those of the resource, which may stand behind its metrics.
    pub fn attributes(self) -> Result<Vec<KeyValue>, WireError> {
        let (mut attributes, mut messages_left) = (Vec::new(), DECODED_MAX);
        self.0.each_message(1, |resource| {
            // Before they are collected: each takes more here than in the body.
            check_counted(resource, Shape::Resource, &mut messages_left)?;
            resource.each_message(1, |attribute| {
                attributes.push(attribute);
                Ok(())
            })
        })?;
        decoded(&attributes)
    }

    pub fn each_metric(
        self,
        mut each: impl FnMut(Metric<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut fields = self.0;
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => each_metric_of_scope(field.message()?, &mut each)?,
                3 => {
                    check_text(field.message()?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn each_metric_of_scope<'a>(
    mut scope: Message<'a>,
    each: &mut impl FnMut(Metric<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    while let Some(field) = scope.next_field()? {
        match field.number {
            1 => {
                check(field.message()?, Shape::Scope)?;
            }
            2 => each(Metric::read(field.message()?)?)?,
            3 => {
                check_text(field.message()?)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'a> Metric<'a> {
    fn read(mut message: Message<'a>) -> Result<Metric<'a>, WireError> {
        let mut metric = Metric::default();
        let mut fields = message;
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => metric.name = check_text(field.message()?)?,
                2 => metric.description = check_text(field.message()?)?,
                3 => metric.unit = check_text(field.message()?)?,
                12 => {
                    check(field.message()?, Shape::KeyValue)?;
                }
                number => {
                    if let Some(kind) = DataKind::of_field(number) {
                        let known = metric.data.filter(|known| known.kind == kind);
                        let data = metric.data.insert(known.unwrap_or(Data::new(kind, fields)));
                        data.go_on(field.message()?)?;
                    }
                }
            }
            fields = message;
        }
        Ok(metric)
    }
}

impl<'a> Data<'a> {
    fn new(kind: DataKind, fields: Message<'a>) -> Data<'a> {
        Data { kind, temporality: 0, is_monotonic: false, point_count: 0, fields }
    }

    fn go_on(&mut self, mut message: Message<'a>) -> Result<(), WireError> {
        while let Some(field) = message.next_field()? {
            match (field.number, self.kind) {
                (1, _) => self.point_count += field.message().map(|_| 1)?,
                (2, DataKind::Sum | DataKind::Histogram | DataKind::ExponentialHistogram) => {
                    self.temporality = field.varint()? as i32;
                }
                (3, DataKind::Sum) => self.is_monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    pub fn each_point(
        &self,
        mut each: impl FnMut(Message<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.fields.each_message(self.kind as u32, |points| points.each_message(1, &mut each))
    }
}

impl DataKind {
    fn of_field(number: u32) -> Option<DataKind> {
        use DataKind::*;
        [Gauge, Sum, Histogram, ExponentialHistogram, Summary].into_iter().find(|kind| *kind as u32 == number)
    }
}
