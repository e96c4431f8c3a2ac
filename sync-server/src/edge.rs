//! The edge: what stands between the network and the routes. A connection first finds room in the [`lobby`], where the
//! oldest of those that nobody is known of give way; [`connections`] speaks [`tls`] and HTTP on it within bounds of time and
//! size. Each request then tells where it comes from ([`peer`]), whether a web page of another origin sends it
//! ([`origins`]), and whether its address and account keep their [`pace`]; each answer carries the [`headers`] of a browser's
//! defence. `http` puts these in their place among the other layers.

pub mod connections;
pub mod headers;
pub mod lobby;
pub mod origins;
pub mod pace;
pub mod peer;
pub mod tls;
pub mod turns;

use crate::config::EdgeArgs;
use origins::{BadOrigin, Origins};
use pace::Pace;
use turns::Turns;

/// What every request meets; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Proxies in front of the server.
    pub proxy_hops: usize,
    /// Web pages that may use the server.
    pub origins: Origins,
    /// How much one address and one account may ask.
    pub pace: Pace,
    /// Whose turn it is to have a password hashed.
    pub turns: Turns,
    /// Whether the server speaks TLS itself.
    pub tls: bool,
}

impl Edge {
    /// As it was configured.
    ///
    /// # Errors
    /// When an origin is none.
    pub fn of(args: &EdgeArgs) -> Result<Self, BadOrigin> {
        Ok(Self {
            proxy_hops: args.trusted_proxy_hops,
            origins: Origins::allowing(&args.allowed_origins)?,
            pace: Pace::of(args.address_pace),
            turns: Turns::default(),
            tls: args.tls_cert.is_some(),
        })
    }
}
