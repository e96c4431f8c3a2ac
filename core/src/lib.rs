//! The engine of FitME Sync: the same code on a phone, in the command line client, in the server and in tests.
//! It does no networking, reads no clock and draws no randomness of its own: time and a random source are arguments.
//!
//! The way of the data, in the order of the modules:
//!
//! 1. [`record`]: what a person wrote (a workout, a meal, a mood…) as typed structs, commands and automerge documents.
//! 2. [`change`]: one automerge change as it travels, read within bounds.
//! 3. [`entry`]: the immutable unit of a feed around it, with its id and the digest of a feed.
//! 4. [`store`]: the device's SQLite file: documents, entries, outbox, cursors and records, one transaction per write.
//! 5. [`wire`]: entries and the other messages as protobuf frames; every bound is checked here.
//! 6. [`session`]: the protocol as two state machines, the device's and the server's: event in, effects out.
//! 7. [`merge`]: entries folded into the merged document and its projection, on device and server alike.
//!
//! [`reconcile`] finds the documents in which two replicas differ. [`policy`] judges who may do what in whose feed. [`id`],
//! [`collection`] and [`limits`] are the words that all of them share.

pub mod change;
pub mod collection;
pub mod entry;
pub mod id;
pub mod limits;
pub mod merge;
pub mod policy;
pub mod reconcile;
pub mod record;
pub mod session;
pub mod store;
pub mod wire;
