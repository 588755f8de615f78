//! Remote write of both versions: any body is taken or refused, and one that prost can read has the same outcome as
//! what prost writes of it.
//!
//! The first byte says how the rest is read: `1` or `2` as a message of that version, `a` or `b` as the snappy block
//! of one.
#![no_main]

mod receiver;

use icecore::ingest::{IngestError, Outcome, Reach, RemoteWriteVersion};
use icecore::wire::{remote_write_v1, remote_write_v2};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: &[u8]| {
    let Some((&form, body)) = input.split_first() else { return };
    match form {
        b'1' => as_prost_reads::<remote_write_v1::WriteRequest>(body, RemoteWriteVersion::V1),
        b'2' => as_prost_reads::<remote_write_v2::Request>(body, RemoteWriteVersion::V2),
        b'a' => drop(write(body, RemoteWriteVersion::V1)),
        b'b' => drop(write(body, RemoteWriteVersion::V2)),
        _ => {}
    }
});

fn as_prost_reads<M: Message + Default>(body: &[u8], version: RemoteWriteVersion) {
    let outcome = write(&snappy(body), version);
    let Ok(message) = M::decode(body) else { return };
    let again = write(&snappy(&message.encode_to_vec()), version).expect("prost writes what can be read");
    // Groups, which prost steps over, are the one thing that only it takes.
    let has_groups = outcome.as_ref().is_err_and(|error| error.to_string().contains("groups are not supported"));
    assert!(has_groups || outcome.expect("prost can read it") == again);
}

fn write(body: &[u8], version: RemoteWriteVersion) -> Result<Outcome, IngestError> {
    receiver::receive(|ingest, done| ingest.remote_write(body, version, Reach::Live, receiver::NOW, done))
}

fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("a short body is compressed")
}
