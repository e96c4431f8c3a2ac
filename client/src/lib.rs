//! The tokio runtime around the engine: everything on a device that does input and output.
//!
//! - [`account`]: sign-up and login over HTTP.
//! - [`oidc`]: sign-in by the server's provider, with a browser.
//! - [`recovery`]: the account's address, password and second factor.
//! - [`tokens`], [`device_key`]: how the device proves itself from then on.
//! - [`devices`]: the account's devices, and the end of this one's sign-in.
//! - [`access_log`]: who read what, as the server recorded it.
//! - [`erase`]: the end of the whole account.
//! - [`transport`]: one connection to the server; no protocol knowledge.
//! - [`trust`]: whom the device believes to be a server.
//! - [`sync`]: drives the core's session over a WebSocket: until everything is in sync, or live with reconnects.
//! - [`once`]: the same session as one HTTP exchange.
//! - [`fit`], [`import`]: activity files of watches and bike computers.
//! - [`archive`]: everything of an account as one file, and an account made of it. [`record_json`]: a record as JSON.
//! - [`home`], [`cli`]: the private directory a person's data lives in, and the `fitme` command line client.

pub mod access_log;
pub mod account;
pub mod archive;
pub mod cli;
pub mod clock;
pub mod consent;
pub mod device_key;
pub mod devices;
pub mod erase;
pub mod error;
pub mod fit;
pub mod home;
pub mod import;
pub mod oidc;
pub mod once;
pub mod record_json;
pub mod recovery;
pub mod sync;
pub mod tokens;
pub mod transport;
pub mod trust;
