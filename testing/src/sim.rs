//! What a simulation of the server stands on: its database in memory, and futures that are polled one step at a time.

pub mod database;
pub mod polling;
