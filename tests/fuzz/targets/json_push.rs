//! JSON of OTLP, Loki and Zipkin: any text is taken or refused.
//!
//! The first byte says whose the rest is: `m`, `l` or `t` OTLP's metrics, logs or traces, `p` Loki's push, `z` Zipkin's.
#![no_main]

mod receiver;

use icecore::ingest::{BodyFormat, Encoding};
use icecore::storage::Signal;
use libfuzzer_sys::fuzz_target;
use receiver::NOW;

fuzz_target!(|input: &[u8]| {
    let Some((&protocol, body)) = input.split_first() else { return };
    let signal = match protocol {
        b'm' => Some(Signal::Metrics),
        b'l' => Some(Signal::Logs),
        b't' => Some(Signal::Traces),
        b'p' | b'z' => None,
        _ => return,
    };
    let (plain, json) = (Encoding::Identity, BodyFormat::Json);
    let _ = receiver::receive(|ingest, done| match signal {
        Some(signal) => ingest.otlp(signal, body, plain, json, NOW, done),
        None if protocol == b'p' => ingest.loki_push(body, plain, json, NOW, done),
        None => ingest.zipkin(body, plain, NOW, done),
    });
});
