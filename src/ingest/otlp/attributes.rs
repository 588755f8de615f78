//! OTLP's attributes as labels: of a point, and of the resource it comes from.
//!
//! What tells the series of a resource apart is spelled from the attributes of points as they were sent; they are taken apart where
//! labels are made.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

use super::Options;
use super::any::key_value;
use super::naming::{TranslationStrategy, label_name};
use super::shape::{DECODED_MAX, Shape, decode};
use crate::ingest::protobuf::{Message, WireError};

/// Labels on their way: names translated, none twice, in no order.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

const SERVICE_NAMESPACE: &str = "service.namespace";
pub const SERVICE_NAME: &str = "service.name";
const SERVICE_INSTANCE_ID: &str = "service.instance.id";

/// What a resource adds to the labels of its points.
pub(super) struct ResourceLabels<'a> {
    /// Given way to by a point's own labels.
    promoted: Pairs<'a>,
    /// `job` and `instance`, which win over a point's own.
    identity: Pairs<'a>,
    /// Those of `target_info`, if there is anything to say.
    pub target_info: Option<Pairs<'a>>,
}

impl<'a> ResourceLabels<'a> {
    pub fn new(attributes: &'a [KeyValue], options: &Options) -> ResourceLabels<'a> {
        let find = |key| attributes.iter().find(|a| a.key == key).map(|a| text(a.value.as_ref()));
        let mut identity = Pairs::new();
        if let Some(name) = find(SERVICE_NAME) {
            let job = match find(SERVICE_NAMESPACE) {
                Some(namespace) => Cow::Owned(format!("{namespace}/{name}")),
                None => name,
            };
            identity.push(("job".into(), job));
        }
        if let Some(instance) = find(SERVICE_INSTANCE_ID) {
            identity.push(("instance".into(), instance));
        }
        let is_promoted = |a: &&KeyValue| options.promote_resource_attributes.contains(&a.key);
        let promoted = translated(attributes.iter().filter(is_promoted), options.translation);
        let is_identifying =
            |a: &KeyValue| [SERVICE_NAMESPACE, SERVICE_NAME, SERVICE_INSTANCE_ID].contains(&a.key.as_str());
        let mut rest = translated(attributes.iter().filter(|a| !is_identifying(a)), options.translation);
        let tells = !rest.is_empty() && !identity.is_empty();
        let target_info = tells.then(|| {
            identity.iter().for_each(|label| set(&mut rest, label.clone()));
            rest
        });
        ResourceLabels { promoted, identity, target_info }
    }

    /// What it adds to the labels of its points, so that no other resource that adds something else gives the same bytes.
    pub fn spelling(&self) -> Vec<u8> {
        let mut spelling = Vec::new();
        for pairs in [&self.promoted, &self.identity] {
            spelling.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
            pairs.iter().for_each(|(name, value)| spell(&[name, value], &mut spelling));
        }
        spelling
    }

    /// The labels of a point of this resource, but for its metric's name.
    pub fn of_point<'p>(&'p self, attributes: &'p [KeyValue], strategy: TranslationStrategy) -> Pairs<'p> {
        let mut pairs = translated(attributes.iter(), strategy);
        for (name, value) in &self.promoted {
            if !pairs.iter().any(|(known, _)| known == name) {
                pairs.push((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
        }
        for (name, value) in &self.identity {
            set(&mut pairs, (Cow::Borrowed(name), Cow::Borrowed(value)));
        }
        pairs
    }
}

/// Takes attributes apart.
pub(super) fn decoded(attributes: &[Message<'_>]) -> Result<Vec<KeyValue>, WireError> {
    let mut messages_left = DECODED_MAX;
    attributes.iter().map(|&attribute| decode(attribute, Shape::KeyValue, &mut messages_left)).collect()
}

/// Spells the attributes of a point: those of one key stay in their order, since their values are joined in it, and
/// all others are in the order of their keys, for senders who walk a hash map.
#[derive(Default)]
pub(super) struct AttributeSpelling<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> AttributeSpelling<'a> {
    #[inline]
    pub fn push(&mut self, attributes: &[Message<'a>], to: &mut Vec<u8>) -> Result<(), WireError> {
        self.0.clear();
        for attribute in attributes {
            self.0.push((key(*attribute)?, attribute.bytes()));
        }
        if !self.0.is_sorted_by_key(|(key, _)| *key) {
            self.0.sort_by_key(|(key, _)| *key);
        }
        for (_, bytes) in &self.0 {
            to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            to.extend_from_slice(bytes);
        }
        Ok(())
    }
}

// Tags of the key and the value of an attribute.
const KEY: u8 = 0x0A;
const VALUE: u8 = 0x12;

#[inline]
fn key<'a>(attribute: Message<'a>) -> Result<&'a [u8], WireError> {
    let mut fields = attribute;
    // As everybody writes it: the key, the value, and nothing else.
    if let Some(key) = fields.take_if_tag(KEY)?
        && fields.take_if_tag(VALUE)?.is_some()
        && fields.is_empty()
    {
        return Ok(key.bytes());
    }
    key_value(attribute).map(|(key, _)| key)
}

/// Appends texts so that no others give the same bytes.
pub(super) fn spell(texts: &[&str], to: &mut Vec<u8>) {
    for text in texts {
        to.extend_from_slice(&(text.len() as u32).to_le_bytes());
        to.extend_from_slice(text.as_bytes());
    }
}

fn set<'a>(pairs: &mut Pairs<'a>, (name, value): (Cow<'a, str>, Cow<'a, str>)) {
    match pairs.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = value,
        None => pairs.push((name, value)),
    }
}

/// The values of names that fall together are joined with `;`, in the order of the original keys.
fn translated<'a>(
    attributes: impl Iterator<Item = &'a KeyValue>,
    strategy: TranslationStrategy,
) -> Pairs<'a> {
    let mut attributes: Vec<&KeyValue> = attributes.collect();
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    let translate = |a: &'a KeyValue| (label_name(&a.key, strategy), text(a.value.as_ref()));
    let mut pairs: Pairs<'a> = attributes.into_iter().map(translate).collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.dedup_by(|later, known| {
        let is_same = later.0 == known.0;
        if is_same {
            // There may be thousands: what is joined already is not copied again.
            let joined = known.1.to_mut();
            joined.push(';');
            joined.push_str(&later.1);
        }
        is_same
    });
    pairs
}

/// A value as text; lists and maps as JSON.
pub(super) fn text(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value.and_then(|value| value.value.as_ref()) {
        None => Cow::Borrowed(""),
        Some(any_value::Value::StringValue(text)) => Cow::Borrowed(text),
        Some(any_value::Value::BoolValue(yes)) => Cow::Borrowed(if *yes { "true" } else { "false" }),
        Some(any_value::Value::IntValue(number)) => Cow::Owned(number.to_string()),
        Some(any_value::Value::DoubleValue(number)) => Cow::Owned(double(*number)),
        Some(any_value::Value::BytesValue(bytes)) => Cow::Owned(BASE64.encode(bytes)),
        Some(any_value::Value::ArrayValue(_) | any_value::Value::KvlistValue(_)) => {
            Cow::Owned(json(value).to_string())
        }
        // A reference into a table that only profiles have.
        Some(any_value::Value::StringValueStrindex(_)) => Cow::Borrowed(""),
    }
}

/// Nested no deeper than the decoder lets through: 90 levels of protobuf, 64 of JSON.
fn json(value: Option<&AnyValue>) -> serde_json::Value {
    match value.and_then(|value| value.value.as_ref()) {
        None | Some(any_value::Value::StringValueStrindex(_)) => serde_json::Value::Null,
        Some(any_value::Value::StringValue(text)) => text.as_str().into(),
        Some(any_value::Value::BoolValue(yes)) => (*yes).into(),
        Some(any_value::Value::IntValue(number)) => (*number).into(),
        Some(any_value::Value::DoubleValue(number)) => (*number).into(),
        Some(any_value::Value::BytesValue(bytes)) => BASE64.encode(bytes).into(),
        Some(any_value::Value::ArrayValue(list)) => list.values.iter().map(|v| json(Some(v))).collect(),
        Some(any_value::Value::KvlistValue(map)) => {
            let entries = map.values.iter().map(|entry| (entry.key.clone(), json(entry.value.as_ref())));
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// As Go writes numbers in JSON, since that is what Prometheus's receiver does.
pub(super) fn double(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) && size.is_finite() {
        let text = format!("{number:e}");
        return if text.contains("e-") { text } else { text.replace('e', "e+") };
    }
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    use super::*;

    fn any(value: any_value::Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn attribute(key: &str, value: &str) -> KeyValue {
        let value = Some(any(any_value::Value::StringValue(value.to_owned())));
        KeyValue { key: key.to_owned(), value, ..Default::default() }
    }

    fn shown(mut pairs: Pairs<'_>) -> String {
        pairs.sort();
        pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_kind_of_value_has_a_text() {
        use any_value::Value::{BoolValue, BytesValue, DoubleValue, IntValue, KvlistValue, StringValue};
        let list =
            ArrayValue { values: vec![any(IntValue(1)), any(StringValue("a".into())), AnyValue::default()] };
        let map = KeyValueList { values: vec![attribute("z", "1"), attribute("a", "2")] };
        let cases = [
            (StringValue("é".into()), "é"),
            (BoolValue(true), "true"),
            (IntValue(i64::MIN), "-9223372036854775808"),
            (DoubleValue(0.1), "0.1"),
            (DoubleValue(1e21), "1e+21"),
            (DoubleValue(1e-7), "1e-7"),
            (DoubleValue(3.0), "3"),
            (BytesValue(vec![1, 2]), "AQI="),
            (any_value::Value::ArrayValue(list), r#"[1,"a",null]"#),
            (KvlistValue(map), r#"{"a":"2","z":"1"}"#),
        ];
        for (value, expected) in cases {
            assert_eq!(text(Some(&any(value))), expected);
        }
    }

    #[test]
    fn a_resource_gives_its_points_their_job_and_instance() {
        let resource = [
            attribute("service.name", "api"),
            attribute("service.namespace", "shop"),
            attribute("service.instance.id", "pod-1"),
            attribute("cloud.region", "eu"),
            attribute("zone", "b"),
        ];
        let options = Options {
            promote_resource_attributes: vec!["cloud.region".into(), "zone".into()],
            ..Options::default()
        };
        let labels = ResourceLabels::new(&resource, &options);
        let point = [attribute("job", "mine"), attribute("cloud_region", "us"), attribute("a", "1")];
        assert_eq!(
            shown(labels.of_point(&point, options.translation)),
            "a=1 cloud_region=us instance=pod-1 job=shop/api zone=b"
        );
        assert_eq!(shown(labels.target_info.unwrap()), "cloud_region=eu instance=pod-1 job=shop/api zone=b");
    }

    #[test]
    fn a_resource_that_only_says_who_it_is_has_no_target_info() {
        let only_identity = [attribute("service.name", "api")];
        assert!(ResourceLabels::new(&only_identity, &Options::default()).target_info.is_none());
        let nobody = [attribute("cloud.region", "eu")];
        assert!(ResourceLabels::new(&nobody, &Options::default()).target_info.is_none());
    }

    #[test]
    fn values_of_names_that_fall_together_are_joined() {
        let resource = ResourceLabels::new(&[], &Options::default());
        let point = [attribute("a.b", "2"), attribute("a_b", "3"), attribute("a-b", "1")];
        assert_eq!(shown(resource.of_point(&point, TranslationStrategy::default())), "a_b=1;2;3");
        assert_eq!(shown(resource.of_point(&point, TranslationStrategy::NoTranslation)), "a-b=1 a.b=2 a_b=3");
    }
}
