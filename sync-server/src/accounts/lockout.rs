//! Lock-out: who guesses passwords waits. Attempts are counted for an address (whether it has an account or not, so that
//! both look alike) together with the network they come from, so that nobody locks an owner out from elsewhere. A device that
//! is signed in does not come by here at all: it exchanges its token.
//!
//! An attempt counts as a failure from its beginning until it succeeds. A thousand at once are therefore a thousand, not one.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use crate::clock::millis;
use crate::db::wall;
use crate::error::{ApiError, Refusal};

/// The failure from which on the next attempt has to wait.
const LOCKS_FROM: i32 = 5;
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// After so long without an attempt the failures are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);
/// A crash may lose the count of its last moment; waiting for the disk would make guesses cost the others.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";
/// Bits of an address that name a network: a home or a company, rather than one of its computers.
const NETWORK_BITS_V4: u32 = 24;
const NETWORK_BITS_V6: u32 = 56;

/// Who tries, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    email_hash: [u8; blake3::OUT_LEN],
    network: String,
}

impl Attempt {
    /// An attempt to log in as `email` from `address`.
    #[must_use]
    pub fn new(email: &str, address: IpAddr) -> Self {
        Self { email_hash: *blake3::hash(email.as_bytes()).as_bytes(), network: network_of(address) }
    }

    /// Counts the attempt, before anything is looked at.
    ///
    /// # Errors
    /// `too_many_attempts`, with the time to wait, while the lock-out lasts; such an attempt does not count.
    pub async fn begin(&self, db: &PgPool, now_ms: i64) -> Result<(), Refusal> {
        let mut tx = wall::begin(db, BEGIN, &[]).await?;
        let forgotten_before = now_ms - millis(FORGOTTEN_AFTER);
        let counted = sqlx::query_scalar!(
            "INSERT INTO login_failures AS known (email_hash, prefix, failures, last_at, locked_until)
             VALUES ($1, $2, 1, $3, 0)
             ON CONFLICT (email_hash, prefix) DO UPDATE
             SET last_at = greatest(known.last_at, $3),
                 failures = CASE WHEN known.last_at < $4 THEN 1 ELSE known.failures + 1 END,
                 locked_until = CASE
                     WHEN known.last_at < $4 OR known.failures + 1 < $5 THEN 0
                     ELSE $3 + least($6::bigint, 1000 * 2 ^ least(known.failures + 1 - $5, 30))::bigint END
             WHERE known.locked_until <= $3
             RETURNING failures",
            &self.email_hash[..],
            self.network,
            now_ms,
            forgotten_before,
            LOCKS_FROM,
            millis(LONGEST)
        )
        .fetch_optional(&mut *tx)
        .await?;
        match counted {
            Some(_) => Ok(tx.commit().await?),
            None => Err(self.locked(&mut tx, now_ms).await?),
        }
    }

    async fn locked(&self, db: &mut PgConnection, now_ms: i64) -> Result<Refusal, sqlx::Error> {
        let until = sqlx::query_scalar!(
            "SELECT locked_until FROM login_failures WHERE email_hash = $1 AND prefix = $2",
            &self.email_hash[..],
            self.network
        )
        .fetch_optional(db)
        .await?;
        let left = until.unwrap_or_default().saturating_sub(now_ms).max(0).unsigned_abs();
        Ok(ApiError::TooManyAttempts.after(Duration::from_millis(left)))
    }

    /// Takes the attempt back: the server had too much to do to look at it, which is nobody's guess.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn was_not_looked_at(&self, db: &PgPool) -> Result<(), sqlx::Error> {
        let mut tx = wall::begin(db, BEGIN, &[]).await?;
        sqlx::query!(
            "UPDATE login_failures SET failures = failures - 1, locked_until = 0
             WHERE email_hash = $1 AND prefix = $2",
            &self.email_hash[..],
            self.network
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Forgets the failures: the password was right.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn succeeded(&self, db: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "DELETE FROM login_failures WHERE email_hash = $1 AND prefix = $2",
            &self.email_hash[..],
            self.network
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

/// Forgets all attempts to log in as `email`, from wherever.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(db: &mut PgConnection, email: &str) -> Result<(), sqlx::Error> {
    let hash = *blake3::hash(email.as_bytes()).as_bytes();
    sqlx::query!("DELETE FROM login_failures WHERE email_hash = $1", &hash[..]).execute(db).await?;
    Ok(())
}

/// Deletes what is forgotten.
///
/// # Errors
/// When the database does not answer.
pub async fn prune(db: &mut PgConnection, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM login_failures WHERE last_at < $1", now_ms - millis(FORGOTTEN_AFTER)).execute(db).await?;
    Ok(())
}

/// The network of an address, as text. An IPv4 address in IPv6 clothes is what it is.
pub(super) fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let network = address.to_bits() & !(u32::MAX >> NETWORK_BITS_V4);
            format!("{}/{NETWORK_BITS_V4}", std::net::Ipv4Addr::from_bits(network))
        }
        IpAddr::V6(address) => {
            let network = address.to_bits() & !(u128::MAX >> NETWORK_BITS_V6);
            format!("{}/{NETWORK_BITS_V6}", std::net::Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn neighbours_share_a_network_and_others_do_not() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(network("::ffff:192.0.2.200"), "192.0.2.0/24");
        assert_eq!(network("2001:db8:1:2ff:3::4"), "2001:db8:1:200::/56");
        assert_ne!(network("192.0.3.7"), network("192.0.2.7"));
    }
}
