//! The simulator: homes, nodes and a network of one world, drawn from a seed and run in one thread without a clock. It runs
//! the shipped code: records, the store on real SQLite, both halves of the session, ingest from its checks to its receipts,
//! merge and policy. Replaced are only time, randomness, the network, the disk below SQLite and the execution of SQL.
//!
//! - [`script`]: what happens in a seed, step by step; each step draws from a seed of its own, so that a failing script can
//!   be [`shrink`]ed.
//! - [`world`]: carries a script out and lets everything come to rest.
//! - `node`, `connection`: a server process on the [`database`], and its end of a session.
//! - `home`: a device, its processes and its disk.
//! - `network`: what is under way between them, and in which order it arrives.
//! - `check`: what must be true then, invariant by invariant.
//! - [`census`]: how often what occurred.

pub mod census;
mod check;
mod connection;
pub mod database;
mod faults;
mod home;
mod ledger;
mod network;
mod node;
pub mod polling;
pub mod script;
pub mod shrink;
mod words;
pub mod world;
