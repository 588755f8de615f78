//! Log records as entries of streams, in Loki's way: some attributes of the resource are the stream's labels, and all
//! else is structured metadata, under the names the sender gave.

use std::fmt::Write;

use super::any::{Any, flatten, key_value};
use crate::ingest::admission::{Rejection, admit_stream_labels};
use crate::ingest::logs::{Level, LogIntake, NewEntry, Pairs, Stream, service};
use crate::ingest::protobuf::{Message, WireError, mended};
use crate::model::{Labels, SpanId, Timestamp, TraceId};

// Attributes of a resource that are labels, by default as in Loki; their names there.
const INDEXED: [(&str, &str); 18] = [
    ("cloud.availability_zone", "cloud_availability_zone"),
    ("cloud.region", "cloud_region"),
    ("container.name", "container_name"),
    ("deployment.environment", "deployment_environment"),
    ("deployment.environment.name", "deployment_environment_name"),
    ("k8s.cluster.name", "k8s_cluster_name"),
    ("k8s.container.name", "k8s_container_name"),
    ("k8s.cronjob.name", "k8s_cronjob_name"),
    ("k8s.daemonset.name", "k8s_daemonset_name"),
    ("k8s.deployment.name", "k8s_deployment_name"),
    ("k8s.job.name", "k8s_job_name"),
    ("k8s.namespace.name", "k8s_namespace_name"),
    ("k8s.pod.name", "k8s_pod_name"),
    ("k8s.replicaset.name", "k8s_replicaset_name"),
    ("k8s.statefulset.name", "k8s_statefulset_name"),
    ("service.instance.id", "service_instance_id"),
    ("service.name", service::SERVICE_NAME),
    ("service.namespace", "service_namespace"),
];

const NANOS_IN_MILLI: u64 = 1_000_000;

/// Reads an encoded `ExportLogsServiceRequest` into `intake`.
pub fn read(
    body: &[u8],
    now: Timestamp,
    shard_of: &dyn Fn(&Labels) -> usize,
    intake: &mut LogIntake<'_>,
) -> Result<(), WireError> {
    let mut reader = Reader {
        intake,
        shard_of,
        now_nanos: now as u64 * NANOS_IN_MILLI,
        resource: Pairs::default(),
        scope: Pairs::default(),
        attributes: Pairs::default(),
        own: Pairs::default(),
        line: String::new(),
    };
    let mut request = Message::new(body);
    while let Some(field) = request.next_field()? {
        if field.number == 1 {
            reader.resource_logs(field.message()?)?;
        }
    }
    Ok(())
}

struct Reader<'r, 'a> {
    intake: &'r mut LogIntake<'a>,
    shard_of: &'r dyn Fn(&Labels) -> usize,
    /// For records that have no time of their own.
    now_nanos: u64,
    /// Metadata of all records of the resource, of the scope, and of the record: its attributes and its other fields.
    resource: Pairs,
    scope: Pairs,
    attributes: Pairs,
    own: Pairs,
    line: String,
}

impl Reader<'_, '_> {
    fn resource_logs(&mut self, message: Message<'_>) -> Result<(), WireError> {
        let mut labels = Labelling::default();
        self.resource.clear();
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            if field.number == 1 {
                self.resource(field.message()?, &mut labels)?;
            }
        }
        let stream = self.stream(labels);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            if field.number == 2 {
                self.scope_logs(field.message()?, &stream)?;
            }
        }
        Ok(())
    }

    fn resource(&mut self, mut message: Message<'_>, labels: &mut Labelling) -> Result<(), WireError> {
        while let Some(field) = message.next_field()? {
            if field.number != 1 {
                continue;
            }
            let (key, value) = key_value(field.message()?)?;
            match INDEXED.iter().find(|(name, _)| name.as_bytes() == key) {
                Some((_, label)) => labels.add(label, value)?,
                None => flatten(key, value, &mut self.resource)?,
            }
        }
        Ok(())
    }

    fn stream(&self, mut labelling: Labelling) -> Result<Stream, Rejection> {
        if !labelling.0.iter().any(|(name, _)| *name == service::SERVICE_NAME) {
            let metadata = |name: &str| self.resource.iter().find(|(known, _)| is_sanitized(known, name));
            let label = |name: &str| labelling.0.iter().find(|(known, _)| *known == name);
            let get = |name: &str| {
                label(name)
                    .map(|(_, value)| value.as_str())
                    .or_else(|| metadata(name).map(|(_, value)| value))
            };
            let found = service::discover(get).to_owned();
            labelling.0.push((service::SERVICE_NAME, found));
        }
        let labels = labelling.0.iter().map(|(name, value)| (*name, value.as_str()));
        let labels = admit_stream_labels(labels, self.intake.options())?;
        let shard = (self.shard_of)(&labels);
        Ok(Stream::new(labels, shard))
    }

    fn scope_logs(
        &mut self,
        message: Message<'_>,
        stream: &Result<Stream, Rejection>,
    ) -> Result<(), WireError> {
        self.scope.clear();
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            if field.number == 1 {
                self.scope(field.message()?)?;
            }
        }
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match (field.number, stream) {
                (2, Ok(stream)) => self.log_record(field.message()?, stream)?,
                (2, Err(rejection)) => self.intake.refusals.refuse(rejection.clone(), 1),
                _ => {}
            }
        }
        Ok(())
    }

    fn scope(&mut self, mut message: Message<'_>) -> Result<(), WireError> {
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => self.scope.push("scope_name", &mended(field.bytes()?)),
                2 => self.scope.push("scope_version", &mended(field.bytes()?)),
                3 => {
                    let (key, value) = key_value(field.message()?)?;
                    flatten(key, value, &mut self.scope)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn log_record(&mut self, mut message: Message<'_>, stream: &Stream) -> Result<(), WireError> {
        let (mut time, mut observed, mut severity) = (0, 0, 0);
        self.attributes.clear();
        self.own.clear();
        self.line.clear();
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => time = field.fixed64()?,
                2 => severity = field.varint()? as i32,
                3 => self.own.push("severity_text", &mended(field.bytes()?)),
                5 => {
                    self.line.clear();
                    Any::read(field.message()?)?.write(&mut self.line)?;
                }
                6 => {
                    let (key, value) = key_value(field.message()?)?;
                    flatten(key, value, &mut self.attributes)?;
                }
                7 => self.number("dropped_attributes_count", field.varint()?),
                8 => self.number("flags", field.fixed32()?.into()),
                9 => self.id("trace_id", field.bytes()?, |id| TraceId::from_bytes(id).is_some()),
                10 => self.id("span_id", field.bytes()?, |id| SpanId::from_bytes(id).is_some()),
                11 => observed = field.fixed64()?,
                12 => self.own.push("event_name", &mended(field.bytes()?)),
                _ => {}
            }
        }
        self.number("observed_timestamp", observed);
        self.number("severity_number", severity.max(0) as u64);
        let timestamp = [time, observed].into_iter().find(|&time| time != 0).unwrap_or(self.now_nanos);
        let all = [&self.own, &self.attributes, &self.scope, &self.resource];
        self.intake.entry(
            stream,
            NewEntry {
                timestamp,
                line: &self.line,
                metadata: all.into_iter().flat_map(Pairs::iter),
                level: Level::of_severity_number(severity),
            },
        );
        Ok(())
    }

    /// A number that is told unless it is 0.
    fn number(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.own.push_with(name, |to| write!(to, "{value}").expect("a String takes all"));
        }
    }

    fn id(&mut self, name: &str, id: &[u8], is_id: impl FnOnce(&[u8]) -> bool) {
        if is_id(id) {
            self.own.push_with(name, |to| push_hex(id, to));
        }
    }
}

/// Labels of a resource on their way.
#[derive(Default)]
struct Labelling(Vec<(&'static str, String)>);

impl Labelling {
    /// The first value counts, as for metadata; an empty one is none.
    fn add(&mut self, name: &'static str, value: Any<'_>) -> Result<(), WireError> {
        let mut text = String::new();
        value.write(&mut text)?;
        if !text.is_empty() && !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name, text));
        }
        Ok(())
    }
}

/// Whether `name` with `_` for all that no label's name may hold is `sanitized`.
fn is_sanitized(name: &str, sanitized: &str) -> bool {
    let is_same = |(a, b): (u8, u8)| a == b || (b == b'_' && !a.is_ascii_alphanumeric());
    name.len() == sanitized.len() && name.bytes().zip(sanitized.bytes()).all(is_same)
}

fn push_hex(bytes: &[u8], to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(DIGITS[usize::from(byte >> 4)] as char);
        to.push(DIGITS[usize::from(byte & 15)] as char);
    }
}
