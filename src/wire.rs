//! The wire formats that no crate carries, generated from `proto/` at build time; nothing written by hand.
