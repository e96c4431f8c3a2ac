//! Proof by key: a device signs a challenge of the server's with the private half of its pair. It stands in for a refresh
//! token that the server does not know, because it was restored from a backup made before.
//!
//! A challenge needs no memory: it carries its time under a code of the server's. It is good once, because it must be
//! younger than the device's sign-in, and a proof begins a new one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::devices::PublicKey;
use crate::auth::{Device, ed25519};
use crate::bytes::random_bytes;
use crate::clock::millis;
use crate::db::whose;
use crate::master_key::MasterKey;

/// How long a challenge may be answered.
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(120);
/// What precedes the challenge in what a device signs, so that its signature is good for nothing else.
pub const PROOF_CONTEXT: &[u8] = b"fitme device proof v1\0";
/// What the key of challenges is derived under.
const CHALLENGE_KEY: &str = "fitme-sync 2026 device challenge";
const NONCE_BYTES: usize = 16;
const TIME_BYTES: usize = size_of::<i64>();

/// Makes challenges and recognises its own.
#[derive(Clone)]
pub struct Challenges {
    key: [u8; blake3::KEY_LEN],
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenges(hidden)")
    }
}

/// A device's answer to a challenge, both as base64 for URLs.
#[derive(Deserialize)]
pub struct Proof {
    /// Which device.
    pub device: Uuid,
    challenge: String,
    signature: String,
}

/// The answer to a device that wants to prove itself.
#[derive(Serialize)]
pub struct Challenge {
    challenge: String,
}

impl Challenges {
    /// Challenges that every server with this master key recognises.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self { key: master.derive(CHALLENGE_KEY) }
    }

    /// A challenge for a device; whether there is such a device, it does not tell.
    #[must_use]
    pub fn draw(&self, device: Uuid, now_ms: i64) -> Challenge {
        let body = [&now_ms.to_be_bytes()[..], &random_bytes::<NONCE_BYTES>()].concat();
        let challenge = [&body[..], self.code(device, &body).as_bytes()].concat();
        Challenge { challenge: URL_SAFE_NO_PAD.encode(challenge) }
    }

    /// When the challenge was drawn for this device; `None` if no server with this master key did, or too long ago.
    fn drawn_at(&self, device: Uuid, challenge: &[u8], now_ms: i64) -> Option<i64> {
        let (body, code) = challenge.split_at_checked(TIME_BYTES + NONCE_BYTES)?;
        let at = i64::from_be_bytes(*body.first_chunk()?);
        // Hashes of this type are compared in constant time.
        let is_mine = self.code(device, body) == blake3::Hash::from_slice(code).ok()?;
        // Of two servers one may have drawn it a moment ahead of the other's clock.
        (is_mine && at.abs_diff(now_ms) < millis(CHALLENGE_LIFETIME).unsigned_abs()).then_some(at)
    }

    fn code(&self, device: Uuid, body: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key).update(device.as_bytes()).update(body).finalize()
    }

    /// The device that a proof proves; `None` if it proves none. Only a device that is signed in can prove itself: where its
    /// sign-in was ended, a password is needed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn proved(
        &self,
        db: &mut PgConnection,
        proof: &Proof,
        now_ms: i64,
    ) -> Result<Option<Device>, sqlx::Error> {
        let decoded = URL_SAFE_NO_PAD.decode(&proof.challenge).ok().zip(URL_SAFE_NO_PAD.decode(&proof.signature).ok());
        let Some((challenge, signature)) = decoded else { return Ok(None) };
        let Some(drawn_at) = self.drawn_at(proof.device, &challenge, now_ms) else { return Ok(None) };
        whose::by_device(db, proof.device).await?;
        let row = sqlx::query!(
            r#"SELECT d.account, d.public_key AS "public_key!", s.started_at
               FROM devices d JOIN sign_ins s ON s.device = d.device AND s.ended_at IS NULL
               WHERE d.device = $1 AND d.public_key IS NOT NULL AND d.revoked_at IS NULL AND s.expires_at > $2
               FOR UPDATE OF s"#,
            proof.device,
            now_ms
        )
        .fetch_optional(db)
        .await?;
        let signed = [PROOF_CONTEXT, &challenge].concat();
        Ok(row
            .filter(|row| row.started_at < drawn_at && ed25519::is_signed(&row.public_key, &signed, &signature))
            .map(|row| Device { device: proof.device, account: row.account }))
    }
}

/// A public key as a device sends it: base64 for URLs.
#[must_use]
pub fn parse_public_key(text: &str) -> Option<PublicKey> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    const NOW: i64 = 1_795_334_400_000;

    #[test]
    fn a_challenge_is_known_for_its_device_in_its_time_and_unchanged() {
        let (challenges, others) = (Challenges::new(&MasterKey::random()), Challenges::new(&MasterKey::random()));
        let (phone, tablet) = (Uuid::now_v7(), Uuid::now_v7());
        let challenge = URL_SAFE_NO_PAD.decode(challenges.draw(phone, NOW).challenge).unwrap();
        let end = NOW + millis(CHALLENGE_LIFETIME);
        assert_eq!(challenges.drawn_at(phone, &challenge, NOW), Some(NOW));
        assert_eq!(challenges.drawn_at(phone, &challenge, end - 1), Some(NOW));
        assert_eq!(challenges.drawn_at(phone, &challenge, end), None);
        assert_eq!(challenges.drawn_at(tablet, &challenge, NOW), None);
        assert_eq!(others.drawn_at(phone, &challenge, NOW), None);
        for at in 0..challenge.len() {
            let mut changed = challenge.clone();
            changed[at] ^= 1;
            assert_eq!(challenges.drawn_at(phone, &changed, NOW), None);
            assert_eq!(challenges.drawn_at(phone, &challenge[..at], NOW), None);
        }
    }
}
