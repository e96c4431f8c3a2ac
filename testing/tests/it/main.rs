//! The whole road with nothing replaced: real servers, a real PostgreSQL, real sockets, devices as processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod consent;
mod devices;
mod errors_doc;
mod full_disk;
mod kill;
mod login_again;
mod oidc;
mod quarantine;
mod recovery;
mod restored;
mod running;
mod samples;
mod signed_in;
mod stage;
mod together;
mod two_nodes;
