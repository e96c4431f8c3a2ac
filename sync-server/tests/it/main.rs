//! The server as clients and operators meet it: real processes, real sockets, a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access_tokens;
mod accounts;
mod client;
mod consents;
mod devices;
mod feeds;
mod grants;
mod hostile_device;
mod ingest;
mod installation;
mod invariants;
mod invites;
mod lockout;
mod matrix;
mod merge_worker;
mod oidc;
mod phones;
mod postgres_away;
mod private_postgres;
mod recovery;
mod rogue;
mod sign_ins;
mod stack_order;
mod telemetry;
mod totp;
mod two_nodes_ingest;
mod wall;
