//! The wire contract as Rust types, generated from `sync/v1/sync.proto`. Nothing here is written by hand; the one place
//! that turns these types into the engine's own, and checks them, is `fitme_core::wire`.

/// Messages of the sync protocol, version 1.
#[expect(missing_docs, reason = "generated; the comments are in the .proto file")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/sync.v1.rs"));
}
