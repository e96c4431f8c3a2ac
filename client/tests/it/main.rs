//! The integration tests of the client: one binary, a module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop with the line")]

mod cli_clock;
mod cli_errors;
mod cli_local;
mod device;
mod fit;
mod import;
