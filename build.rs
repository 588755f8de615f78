//! Compiles `proto/` to Rust, in pure Rust: a build needs no protoc.

const SOURCES: [&str; 6] = [
    "proto/loki_push.proto",
    "proto/metric_family.proto",
    "proto/remote_read.proto",
    "proto/remote_write_v1.proto",
    "proto/remote_write_v2.proto",
    "proto/tempo.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(SOURCES, ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
