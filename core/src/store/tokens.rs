//! What proves this installation to its server: the tokens it holds, and the seed of its key pair.

use rand::RngCore;
use rusqlite::{Connection, TransactionBehavior};

use super::{Store, StoreError, set_meta};

/// Bytes of the seed that a key pair is made from.
pub const SEED_BYTES: usize = 32;

/// The tokens of a device that is signed in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Exchanged for the next tokens; valid for weeks.
    pub refresh: String,
    /// Goes with each request; valid for minutes. Empty where none was given yet.
    pub access: String,
    /// When it is time for the next access token, ms UTC by this device's clock: before this one ends.
    pub renew_at: i64,
}

/// The tokens must not reach a log.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

impl Store {
    /// The tokens that are here; all empty before the home has an account.
    pub fn tokens(&self) -> Result<Tokens, StoreError> {
        Ok(Tokens {
            refresh: self.text("token")?,
            access: self.text("access_token")?,
            renew_at: self.meta("renew_at")?.map(i64::from_be_bytes).unwrap_or_default(),
        })
    }

    /// Keeps new tokens, durably: the old refresh token is worth nothing once they are given.
    pub fn keep_tokens(&mut self, tokens: &Tokens) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        set_tokens(&tx, tokens)?;
        Ok(tx.commit()?)
    }

    /// Locks the home until its account logs in again: its records are kept and not to be shown, its tokens are gone.
    pub fn lock(&mut self) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        set_tokens(&tx, &Tokens::default())?;
        set_meta(&tx, "locked", &[])?;
        tx.commit()?;
        self.forget_others()
    }

    /// Whether the home is locked.
    pub fn is_locked(&self) -> Result<bool, StoreError> {
        Ok(self.meta::<Vec<u8>>("locked")?.is_some())
    }

    /// The seed of this installation's key pair, drawn when it is first asked for; two processes that ask at once get the
    /// same one.
    pub fn device_seed(&mut self, rng: &mut dyn RngCore) -> Result<[u8; SEED_BYTES], StoreError> {
        let mut fresh = [0; SEED_BYTES];
        rng.fill_bytes(&mut fresh);
        self.conn.execute("INSERT INTO meta (key, value) VALUES ('device_seed', ?) ON CONFLICT DO NOTHING", [fresh])?;
        Ok(self.meta("device_seed")?.unwrap_or(fresh))
    }
}

/// A home of the version before has one token, under the name that the refresh token has now.
pub(super) fn set_tokens(conn: &Connection, tokens: &Tokens) -> Result<(), StoreError> {
    set_meta(conn, "token", tokens.refresh.as_bytes())?;
    set_meta(conn, "access_token", tokens.access.as_bytes())?;
    set_meta(conn, "renew_at", &tokens.renew_at.to_be_bytes())
}
