//! Data points, read in place.
//!
//! Their numbers are put where the protocol's own types have them; attributes and exemplars are left as they were
//! sent, since most often nobody has to take them apart.

use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
    exponential_histogram_data_point::Buckets, number_data_point::Value, summary_data_point::ValueAtQuantile,
};

use crate::ingest::protobuf::{Field, Message, WireError};

// What takes a byte or two in a body takes up to 24 here, and all of a point are held at once.
const LIST_MAX: usize = 1 << 16;

/// A data point; used again for the next.
#[derive(Default)]
pub(super) struct Point<'a, N> {
    pub attributes: Vec<Message<'a>>,
    pub exemplars: Vec<Message<'a>>,
    /// All but the attributes and exemplars.
    pub numbers: N,
}

/// A point of each kind.
#[derive(Default)]
pub(super) struct Points<'a> {
    pub number: Point<'a, NumberDataPoint>,
    pub histogram: Point<'a, HistogramDataPoint>,
    pub exponential: Point<'a, ExponentialHistogramDataPoint>,
    pub summary: Point<'a, SummaryDataPoint>,
}

/// The fields of a kind of points, by the numbers of the protocol.
pub(super) trait Numbers: prost::Message + Default {
    const ATTRIBUTES: u32;
    const EXEMPLARS: u32;

    /// Takes a field that is neither of these.
    fn set(&mut self, field: Field<'_>) -> Result<(), WireError>;
}

impl<'a, N: Numbers> Point<'a, N> {
    #[inline]
    pub fn read(&mut self, mut message: Message<'a>) -> Result<(), WireError> {
        self.attributes.clear();
        self.exemplars.clear();
        self.numbers.clear();
        while let Some(field) = message.next_field()? {
            match field.number {
                number if number == N::ATTRIBUTES => push(field, &mut self.attributes)?,
                number if number == N::EXEMPLARS => push(field, &mut self.exemplars)?,
                _ => self.numbers.set(field)?,
            }
        }
        Ok(())
    }
}

fn push<'a>(field: Field<'a>, to: &mut Vec<Message<'a>>) -> Result<(), WireError> {
    if to.len() == LIST_MAX {
        let reason = "more than 65536 attributes or exemplars of one point";
        return Err(WireError { offset: field.offset, reason });
    }
    to.push(field.message()?);
    Ok(())
}

impl Numbers for NumberDataPoint {
    const ATTRIBUTES: u32 = 7;
    const EXEMPLARS: u32 = 5;

    #[inline]
    fn set(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field.number {
            2 => self.start_time_unix_nano = field.fixed64()?,
            3 => self.time_unix_nano = field.fixed64()?,
            4 => self.value = Some(Value::AsDouble(field.double()?)),
            6 => self.value = Some(Value::AsInt(field.fixed64()? as i64)),
            8 => self.flags = field.varint()? as u32,
            _ => {}
        }
        Ok(())
    }
}

impl Numbers for HistogramDataPoint {
    const ATTRIBUTES: u32 = 9;
    const EXEMPLARS: u32 = 8;

    #[inline]
    fn set(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field.number {
            2 => self.start_time_unix_nano = field.fixed64()?,
            3 => self.time_unix_nano = field.fixed64()?,
            4 => self.count = field.fixed64()?,
            5 => self.sum = Some(field.double()?),
            6 => field.each_fixed64(|count| self.bucket_counts.push(count))?,
            7 => field.each_double(|bound| self.explicit_bounds.push(bound))?,
            10 => self.flags = field.varint()? as u32,
            11 => self.min = Some(field.double()?),
            12 => self.max = Some(field.double()?),
            _ => {}
        }
        Ok(())
    }
}

impl Numbers for ExponentialHistogramDataPoint {
    const ATTRIBUTES: u32 = 1;
    const EXEMPLARS: u32 = 11;

    fn set(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field.number {
            2 => self.start_time_unix_nano = field.fixed64()?,
            3 => self.time_unix_nano = field.fixed64()?,
            4 => self.count = field.fixed64()?,
            5 => self.sum = Some(field.double()?),
            6 => self.scale = field.zigzag32()?,
            7 => self.zero_count = field.fixed64()?,
            8 => go_on(self.positive.get_or_insert_default(), field.message()?)?,
            9 => go_on(self.negative.get_or_insert_default(), field.message()?)?,
            10 => self.flags = field.varint()? as u32,
            12 => self.min = Some(field.double()?),
            13 => self.max = Some(field.double()?),
            14 => self.zero_threshold = field.double()?,
            _ => {}
        }
        Ok(())
    }
}

fn go_on(buckets: &mut Buckets, mut message: Message<'_>) -> Result<(), WireError> {
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => buckets.offset = field.zigzag32()?,
            2 => {
                let counts = &mut buckets.bucket_counts;
                field.each_varint(|count| {
                    if counts.len() <= LIST_MAX {
                        counts.push(count);
                    }
                })?;
                if counts.len() > LIST_MAX {
                    let reason = "more than 65536 buckets on one side of a point";
                    return Err(WireError { offset: field.offset, reason });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

impl Numbers for SummaryDataPoint {
    const ATTRIBUTES: u32 = 7;
    /// Summaries have none, and no field has this number.
    const EXEMPLARS: u32 = 0;

    fn set(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field.number {
            2 => self.start_time_unix_nano = field.fixed64()?,
            3 => self.time_unix_nano = field.fixed64()?,
            4 => self.count = field.fixed64()?,
            5 => self.sum = field.double()?,
            6 if self.quantile_values.len() == LIST_MAX => {
                let reason = "more than 65536 quantiles of one point";
                return Err(WireError { offset: field.offset, reason });
            }
            6 => self.quantile_values.push(value_at_quantile(field.message()?)?),
            8 => self.flags = field.varint()? as u32,
            _ => {}
        }
        Ok(())
    }
}

fn value_at_quantile(mut message: Message<'_>) -> Result<ValueAtQuantile, WireError> {
    let mut at = ValueAtQuantile::default();
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => at.quantile = field.double()?,
            2 => at.value = field.double()?,
            _ => {}
        }
    }
    Ok(at)
}
