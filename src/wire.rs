//! The wire formats that no crate carries, generated from `proto/` at build time; nothing written by hand.

/// Prometheus remote write 1.0.
pub mod remote_write_v1 {
    include!(concat!(env!("OUT_DIR"), "/icecore.remote_write_v1.rs"));
}

/// Prometheus remote write 2.0.
pub mod remote_write_v2 {
    include!(concat!(env!("OUT_DIR"), "/icecore.remote_write_v2.rs"));
}

/// Loki's push API.
pub mod loki_push {
    include!(concat!(env!("OUT_DIR"), "/icecore.loki_push.rs"));
}

/// Tempo's answers.
pub mod tempo {
    include!(concat!(env!("OUT_DIR"), "/icecore.tempo.rs"));
}

/// Prometheus remote read.
pub mod remote_read {
    include!(concat!(env!("OUT_DIR"), "/icecore.remote_read.rs"));
}

/// Prometheus's exposition as protobuf.
pub mod metric_family {
    include!(concat!(env!("OUT_DIR"), "/icecore.metric_family.rs"));
}
