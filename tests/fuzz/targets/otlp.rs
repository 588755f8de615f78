//! OTLP in protobuf: any body is taken or refused, and metrics that prost can read have the same outcome as what prost
//! writes of them.
//!
//! The first byte says whose the rest is: `m`, `l` or `t` metrics, logs or traces.
#![no_main]

mod receiver;

use icecore::ingest::{BodyFormat, Encoding, IngestError, Outcome};
use icecore::storage::Signal;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    let Some((&signal, body)) = input.split_first() else { return };
    match signal {
        b'm' => as_prost_reads(body),
        b'l' => drop(send(Signal::Logs, body)),
        b't' => drop(send(Signal::Traces, body)),
        _ => {}
    }
});

fn as_prost_reads(body: &[u8]) {
    let outcome = send(Signal::Metrics, body);
    let Ok(message) = ExportMetricsServiceRequest::decode(body) else { return };
    let again = send(Signal::Metrics, &message.encode_to_vec()).expect("prost writes what can be read");
    match outcome {
        // The second may have gone to a new store.
        Ok(outcome) if is_full(&outcome) || is_full(&again) => {}
        Ok(outcome) => assert_eq!(without_places(outcome), without_places(again)),
        // Groups are what prost steps over, and it goes some levels deeper.
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("groups are not supported") || error.contains("nested deeper"), "{error}");
        }
    }
}

fn is_full(outcome: &Outcome) -> bool {
    outcome.reasons.iter().any(|reason| reason.contains("series limit"))
}

/// Where in the body something stands is another place in another encoding.
fn without_places(outcome: Outcome) -> Outcome {
    Outcome { reasons: outcome.reasons.into_iter().filter(|r| !r.contains(" at byte ")).collect(), ..outcome }
}

fn send(signal: Signal, body: &[u8]) -> Result<Outcome, IngestError> {
    let (plain, format) = (Encoding::Identity, BodyFormat::Protobuf);
    receiver::receive(|ingest, done| ingest.otlp(signal, body, plain, format, receiver::NOW, done))
}
