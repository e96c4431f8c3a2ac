//! The server of the sync engine: accepts, orders, stores, merges and fans out what devices send.
//!
//! [`serve`] is its life, [`admin`] and [`quarantine`] what its operator does, [`http`] its routes and the stack around them, [`state`] what handlers share. The way of an
//! entry: [`ws`] or [`once`] drive a session, whose wishes [`engine`] performs: [`ingest`] numbers and stores what devices
//! push, [`fanout`] hands it to the sessions of this node and [`hints`] to the other nodes, [`feeds`] reads it, and
//! [`merge`] folds it into records behind all that.

pub mod account_feeds;
pub mod accounts;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod bootstrap;
pub mod bytes;
pub mod check;
pub mod clock;
pub mod config;
pub mod consents;
pub mod db;
pub mod devices;
pub mod edge;
pub mod endings;
pub mod engine;
pub mod erase;
pub mod error;
pub mod fanout;
pub mod feeds;
pub mod grants;
pub mod health;
pub mod hints;
pub mod http;
pub mod ingest;
pub mod invites;
pub mod json_body;
pub mod live_sign_ins;
pub mod mail;
pub mod master_key;
pub mod merge;
pub mod metrics;
pub mod once;
pub mod passwords;
pub mod private_postgres;
pub mod prove;
pub mod quarantine;
pub mod regrants;
pub mod repair;
pub mod routes;
pub mod serve;
pub mod services;
pub mod shutdown;
pub mod slow_reader;
pub mod state;
pub mod telemetry;
pub mod web_writes;
pub mod ws;
