//! Where a request comes from. The address at the other end of the socket is the truth, unless proxies of the operator's stand
//! there: each adds the address that it was asked from to the end of X-Forwarded-For, so the one that counts stands as far
//! from the end as there are proxies. What stands before it came from the client, who may write what he likes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

use crate::slow_reader::Peer;
use crate::state::AppState;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Bits of an IPv6 address that one subscriber has: the rest he changes as he likes.
const SUBSCRIBER_BITS_V6: u32 = 56;

/// Middleware: replaces the address of the socket by the one that counts.
pub async fn find_peer(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let hops = state.edge.proxy_hops;
    if hops > 0
        && let Some(address) = forwarded_for(request.headers(), hops)
    {
        request.extensions_mut().insert(ConnectInfo(Peer(address)));
    } else if hops == 0 && request.headers().contains_key(FORWARDED_FOR) {
        warn_of_a_proxy();
    }
    next.run(request).await
}

/// All people behind a proxy that is not named share its address, its pace and its lock-outs.
fn warn_of_a_proxy() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "requests come with X-Forwarded-For, which is not believed; if a proxy of yours stands in front of the server, \
             set FITME_TRUSTED_PROXY_HOPS to 1"
        );
    });
}

/// The address that the outermost of `hops` proxies was asked from; `None` when the request did not pass so many.
fn forwarded_for(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let from_the_end = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
    let address = from_the_end.map(str::trim).nth(hops - 1)?;
    address.parse().ok().or_else(|| address.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
}

/// The address as limits know it: an IPv4 address, or the part of an IPv6 address that one subscriber has.
#[must_use]
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> SUBSCRIBER_BITS_V6)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (FORWARDED_FOR, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_as_many_addresses_are_believed_as_there_are_proxies() {
        let address = |values, hops| forwarded_for(&headers(values), hops).map(|address| address.to_string());
        let lied = &["6.6.6.6, 192.0.2.1", "203.0.113.9"];
        assert_eq!(address(lied, 1).as_deref(), Some("203.0.113.9"));
        assert_eq!(address(lied, 2).as_deref(), Some("192.0.2.1"));
        assert_eq!(address(lied, 4), None, "it did not pass four proxies");
        assert_eq!(address(&["[2001:db8::1]:443"], 1).as_deref(), Some("2001:db8::1"));
        assert_eq!(address(&["192.0.2.1:443"], 1).as_deref(), Some("192.0.2.1"));
        assert_eq!(address(&["nonsense"], 1), None);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address_however_many_he_uses() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2ff:3::4"), of("2001:db8:1:201::9"));
        assert_ne!(of("2001:db8:1:2ff:3::4"), of("2001:db8:1:300::9"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.8"), of("192.0.2.7"));
    }
}
