//! Passwords: hashed with argon2id, a bounded number at a time, because each hash takes 19 MiB and a core for a while.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{ApiError, Refusal};

/// Hashes computed at once: 76 MiB at most, and other requests keep a core.
const AT_ONCE: usize = 4;
/// How long a request waits for its turn before it is answered `overloaded`.
const WAIT: Duration = Duration::from_secs(5);
/// Verified in place of a missing one, so that an unknown account takes as long as a wrong password. It is a hash with the
/// parameters of `Argon2::default()`; the answer is never used.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Zml0bWUtbm9ib2R5LTAwMQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and checks passwords on threads that may block.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    /// The hash of `password` with a fresh salt, as a PHC string.
    ///
    /// # Errors
    /// `overloaded` when too many others wait.
    pub async fn hash(&self, password: String) -> Result<String, Refusal> {
        let hashed = self
            .in_turn(move || {
                let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
                hash.map(|hash| hash.to_string())
            })
            .await?;
        hashed.map_err(|error| ApiError::Internal.caused_by(error))
    }

    /// Whether `password` fits `hash`; without a hash it takes the same time and does not fit.
    ///
    /// # Errors
    /// `overloaded` when too many others wait.
    pub async fn fits(&self, password: String, hash: Option<String>) -> Result<bool, Refusal> {
        self.in_turn(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODYS_HASH.to_owned());
            let fits = Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok();
            known && fits
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let turn = self.turn().await?;
        let done = tokio::task::spawn_blocking(move || {
            // Given back by the thread, not by the request: a client that hangs up does not stop its hash.
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| ApiError::Internal.caused_by(error))
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        match tokio::time::timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ApiError::Overloaded.caused_by("too many passwords are being checked")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_alone() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.fits("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.fits("wrong horse".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.fits("correct horse".to_owned(), None).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let nobody = PasswordHash::new(NOBODYS_HASH).unwrap();
        let real: PasswordHash = Argon2::default().hash_password(b"12345678").unwrap();
        assert_eq!(nobody.params.to_string(), real.params.to_string());
        assert_eq!(nobody.algorithm, real.algorithm);
    }
}
