//! The server as clients and operators meet it: real processes, real sockets, a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod client;
mod feeds;
mod grants;
mod hostile_device;
mod ingest;
mod installation;
mod invariants;
mod invites;
mod merge_worker;
mod phones;
mod postgres_away;
mod private_postgres;
mod rogue;
mod stack_order;
mod telemetry;
mod two_nodes_ingest;
