//! The engine's integration tests, one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod archive;
mod bootstrap;
mod erase;
mod granting;
mod hub;
mod others;
mod rebase;
mod reconcile;
mod records;
mod repair;
mod session;
mod store;
