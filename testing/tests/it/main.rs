//! The whole road with nothing replaced: real servers, a real PostgreSQL, real sockets, devices as processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod admin;
mod archive;
mod audited_device;
mod audited_server;
mod backup;
mod bootstrap;
mod conformance;
mod consent;
mod damaged;
mod devices;
mod erase;
mod erase_account;
mod errors_doc;
mod full_disk;
mod invariants;
mod kill;
mod login_again;
mod oidc;
mod planted;
mod quarantine;
mod recovery;
mod restored;
mod restored_by_devices;
mod restored_server;
mod running;
mod samples;
mod searched_logs;
mod signed_in;
mod sim;
mod stage;
mod tls;
mod together;
mod two_nodes;
