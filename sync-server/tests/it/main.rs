//! The server as clients and operators meet it: real processes, real sockets, a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access_log;
mod access_tokens;
mod accounts;
mod audit;
mod bootstrap;
mod check;
mod client;
mod clocks;
mod consents;
mod devices;
mod edges;
mod endings;
mod erase;
mod erase_by_web;
mod feeds;
mod grants;
mod hostile_device;
mod ingest;
mod injection;
mod installation;
mod invariants;
mod invites;
mod lockout;
mod matrix;
mod merge_worker;
mod metrics;
mod oidc;
mod phones;
mod postgres_away;
mod private_postgres;
mod recovery;
mod rogue;
mod sign_ins;
mod slow_share;
mod smtp;
mod stack_order;
mod telemetry;
mod totp;
mod two_nodes_ingest;
mod wall;
