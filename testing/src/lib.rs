//! What tests share: a private PostgreSQL, the server and devices as processes. Never shipped.
//!
//! Everything here blocks and panics with a sentence instead of returning errors, so that a test reads like a play; it may
//! be used inside and outside of async code.

mod binaries;
mod browser;
mod certificate;
pub mod chaos;
mod device;
pub mod entries;
pub mod fault_proxy;
mod letters;
mod logs;
mod oidc_provider;
mod postgres;
pub mod realistic;
mod server_here;
mod server_process;
pub mod sim;
mod waiting;

pub use browser::Browser;
pub use certificate::Certificate;
pub use device::{Device, Outcome};
pub use oidc_provider::{OidcProvider, PUBLIC_URL, TOKEN_SECONDS};
pub use postgres::{Database, Postgres};
pub use server_here::{ServerHere, state_on};
pub use server_process::{ServerProcess, run_server};
pub use waiting::{PATIENCE, wait_for, wait_until};
