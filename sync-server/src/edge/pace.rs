//! How much one address and one account may ask. Each has a purse that fills at a steady pace; a request takes a coin, a
//! request that has a password hashed takes many, because it costs that much more. An empty purse is answered
//! `too_many_requests` before anything else is done.
//!
//! Devices have a pace of their own for what they say inside sessions (`crate::devices`).

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use uuid::Uuid;

use super::lobby::Place;
use super::peer::subscriber;
use crate::auth::Access;
use crate::config::DEFAULT_ADDRESS_PACE;
use crate::error::{ApiError, Refusal};
use crate::slow_reader::Peer;
use crate::state::AppState;

/// A purse holds what comes in within so many seconds.
const PURSE_SECONDS: u32 = 30;
/// Coins a second of an account, over all its devices.
const ACCOUNT_PACE: NonZeroU32 = NonZeroU32::new(20).expect("it is not zero");
/// What an ordinary request costs.
const COIN: NonZeroU32 = NonZeroU32::new(1).expect("it is not zero");
/// What a request costs that has a password hashed: 25 ms of a core and 19 MiB.
const PASSWORD_COINS: NonZeroU32 = NonZeroU32::new(20).expect("it is not zero");
/// The routes that have one hashed.
const PASSWORD_ROUTES: [&str; 6] =
    ["/v1/signup", "/v1/login", "/v1/password", "/v1/password/reset", "/v1/oidc/link", "/v1/account/erase"];
/// Purses of one kind; beyond, those whom nobody has seen share one.
const PURSES: usize = 100_000;
/// Full purses are forgotten each time so many requests have come.
const FORGET_EVERY: u32 = 10_000;
/// The address that newcomers share when there are too many.
const NEWCOMERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The purses of this node; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Pace {
    addresses: Arc<Purses<IpAddr>>,
    accounts: Arc<Purses<Uuid>>,
}

impl Pace {
    /// An address gets so many coins a second.
    #[must_use]
    pub fn of(address_pace: NonZeroU32) -> Self {
        Self {
            addresses: Arc::new(Purses::new(address_pace, NEWCOMERS)),
            accounts: Arc::new(Purses::new(ACCOUNT_PACE, Uuid::nil())),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::of(DEFAULT_ADDRESS_PACE)
    }
}

struct Purses<K: Hash + Eq + Clone> {
    purses: DefaultKeyedRateLimiter<K>,
    newcomers: K,
    until_forgetting: AtomicU32,
}

impl<K: Hash + Eq + Clone> Purses<K> {
    fn new(pace: NonZeroU32, newcomers: K) -> Self {
        let full = pace.saturating_mul(NonZeroU32::new(PURSE_SECONDS).expect("it is not zero"));
        let purses = RateLimiter::keyed(Quota::per_second(pace).allow_burst(full));
        Self { purses, newcomers, until_forgetting: AtomicU32::new(FORGET_EVERY) }
    }

    /// Takes the coins, or says how long to wait for them.
    fn take(&self, whose: K, coins: NonZeroU32) -> Result<(), Duration> {
        if self.until_forgetting.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.purses.retain_recent();
            self.purses.shrink_to_fit();
            self.until_forgetting.store(FORGET_EVERY, Ordering::Relaxed);
        }
        let whose = if self.purses.len() < PURSES { whose } else { self.newcomers.clone() };
        match self.purses.check_key_n(&whose, coins) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(until.wait_time_from(DefaultClock::default().now())),
            // A purse that never holds the price: as small as somebody configured it.
            Err(_) => Err(Duration::from_secs(PURSE_SECONDS.into())),
        }
    }
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Purses<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} purses", self.purses.len())
    }
}

/// Whether the request has a password hashed.
#[must_use]
pub fn hashes_a_password(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    route.is_some_and(|route| PASSWORD_ROUTES.contains(&route.as_str()))
}

/// Middleware, before anything else is done: the pace of the address.
pub async fn pace_address(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let price = if hashes_a_password(&request) { PASSWORD_COINS } else { COIN };
    // Only a test's server has no addresses.
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let kept =
        peer.map_or(Ok(()), |ConnectInfo(Peer(address))| state.edge.pace.addresses.take(subscriber(*address), price));
    match kept {
        Ok(()) => next.run(request).await,
        Err(wait) => too_many(wait),
    }
}

/// Middleware, once it is known who asks: the pace of the account. The connection is known from here on.
pub async fn pace_account(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if let Some(access) = request.extensions().get::<Access>() {
        if let Some(place) = request.extensions().get::<Place>() {
            place.known();
        }
        if let Err(wait) = state.edge.pace.accounts.take(access.device.account, COIN) {
            return too_many(wait);
        }
    }
    next.run(request).await
}

fn too_many(wait: Duration) -> Response {
    let refusal: Refusal = ApiError::TooManyRequests.after(wait);
    refusal.log();
    refusal.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = COIN;
    const ANN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const BEN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn an_empty_purse_waits_and_another_is_full() {
        let purses = Purses::new(ONE, NEWCOMERS);
        assert_eq!(purses.take(ANN, PASSWORD_COINS), Ok(()));
        let wait = purses.take(ANN, PASSWORD_COINS).expect_err("thirty coins are one password");
        assert!((9..=10).contains(&wait.as_secs()), "ten coins are missing: {wait:?}");
        assert_eq!(purses.take(BEN, PASSWORD_COINS), Ok(()));
    }

    #[test]
    fn addresses_by_the_thousand_share_one_purse_in_the_end() {
        let purses = Purses::new(ONE, NEWCOMERS);
        for n in 0..PURSES as u32 {
            assert_eq!(purses.take(IpAddr::V4(Ipv4Addr::from_bits(n + 1)), ONE), Ok(()));
        }
        let newcomers = (0..100u32).map(|n| purses.take(IpAddr::V4(Ipv4Addr::from_bits(u32::MAX - n)), ONE));
        assert!(newcomers.filter(Result::is_ok).count() < 100, "each had a purse of his own");
        assert!(purses.purses.len() <= PURSES + 1);
    }
}
