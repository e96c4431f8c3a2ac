//! What a refresh token looks like, and what a presented one means. No input, no output: the rules of rotation are here
//! as one function.
//!
//! A token is `FAMILY.GENERATION.SECRET`. All tokens of a sign-in share the family; each exchange counts the generation up
//! and makes a new secret. Whoever shows a family that the server knows has had a true token of it, so an old secret of it
//! is a token that was used by somebody else as well.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::bytes::random_bytes;
use crate::clock::millis;

/// How long a token that was exchanged gets the same successor again: the answer may have been lost on a bad network.
pub const GRACE: Duration = Duration::from_secs(120);
/// How long a device may be offline and come back without a password.
pub const REFRESH_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Random bytes that name a family.
const FAMILY_BYTES: usize = 16;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Longer than any token of this server.
const MAX_BYTES: usize = 256;

/// Hash of a random token: fast and without salt, since nobody can guess what it hides.
pub type Hash = [u8; blake3::OUT_LEN];

/// What the database keeps of `secret`.
#[must_use]
pub fn hash(secret: &str) -> Hash {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// A token, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    family: String,
    /// How many exchanges made it.
    pub generation: i64,
    secret: String,
}

impl RefreshToken {
    /// The first one of a new family.
    #[must_use]
    pub fn draw() -> Self {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (family, secret) = (text(&random_bytes::<FAMILY_BYTES>()), text(&random_bytes::<SECRET_BYTES>()));
        Self { family, generation: 0, secret }
    }

    /// Reads a token. One without dots is of the version before families: it is its own family, never exchanged.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let token = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(text), None, ..) => Self { family: text.to_owned(), generation: 0, secret: text.to_owned() },
            (Some(family), Some(generation), Some(secret), None) => {
                let generation = generation.parse().ok().filter(|number| *number >= 0)?;
                Self { family: family.to_owned(), generation, secret: secret.to_owned() }
            }
            _ => return None,
        };
        Some(token)
    }

    /// As the device keeps it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}.{}", self.family, self.generation, self.secret)
    }

    /// What finds its family in the database.
    #[must_use]
    pub fn family_hash(&self) -> Hash {
        hash(&self.family)
    }

    /// What the database compares.
    #[must_use]
    pub fn secret_hash(&self) -> Hash {
        hash(&self.secret)
    }

    /// The token that follows it. The same key gives the same successor, so that it need not be kept to be given again;
    /// without the token itself the key is worth nothing.
    #[must_use]
    pub fn successor(&self, key: &[u8; blake3::KEY_LEN]) -> Self {
        let secret = URL_SAFE_NO_PAD.encode(blake3::keyed_hash(key, self.secret.as_bytes()).as_bytes());
        Self { family: self.family.clone(), generation: self.generation + 1, secret }
    }
}

/// What the server knows of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Generation of the newest token.
    pub generation: i64,
    /// Hash of the newest token's secret.
    pub token_hash: Vec<u8>,
    /// Hash of the secret before.
    pub previous_hash: Option<Vec<u8>>,
    /// When that one was exchanged.
    pub exchanged_at: i64,
    /// When the newest token ends.
    pub expires_at: i64,
    /// Whether the sign-in was ended.
    pub ended: bool,
}

/// What a presented token means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The newest one: it is exchanged.
    Newest,
    /// The one before, whose answer was lost: it gets the same successor again.
    Repeated,
    /// A token that this server may have given before it was restored from a backup, or whose successor got lost for long:
    /// the device must prove that it is the one.
    Unproved,
    /// A token that was exchanged long ago: somebody has a copy.
    Reused,
    /// The sign-in has ended.
    Over,
}

impl Known {
    /// What `token` means to a server that knows this of its family.
    #[must_use]
    pub fn meaning_of(&self, token: &RefreshToken, now_ms: i64) -> Meaning {
        let is = |known: &[u8]| known == token.secret_hash();
        if self.ended || self.expires_at <= now_ms {
            Meaning::Over
        } else if is(&self.token_hash) {
            Meaning::Newest
        } else if self.previous_hash.as_deref().is_some_and(is) {
            // Nobody has used the successor: the newest token would be the one before then.
            let in_grace = now_ms < self.exchanged_at.saturating_add(millis(GRACE));
            if in_grace { Meaning::Repeated } else { Meaning::Unproved }
        } else if token.generation > self.generation {
            Meaning::Unproved
        } else {
            Meaning::Reused
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    const NOW: i64 = 1_795_334_400_000;

    /// A family after its first token was exchanged for the second.
    fn exchanged_once() -> (RefreshToken, RefreshToken, Known) {
        let first = RefreshToken::draw();
        let second = first.successor(&[7; 32]);
        let known = Known {
            generation: 1,
            token_hash: second.secret_hash().to_vec(),
            previous_hash: Some(first.secret_hash().to_vec()),
            exchanged_at: NOW,
            expires_at: NOW + millis(REFRESH_LIFETIME),
            ended: false,
        };
        (first, second, known)
    }

    #[test]
    fn the_newest_token_is_exchanged_until_it_expires() {
        let (_, second, known) = exchanged_once();
        assert_eq!(known.meaning_of(&second, NOW), Meaning::Newest);
        assert_eq!(known.meaning_of(&second, known.expires_at - 1), Meaning::Newest);
        assert_eq!(known.meaning_of(&second, known.expires_at), Meaning::Over);
        assert_eq!(Known { ended: true, ..known }.meaning_of(&second, NOW), Meaning::Over);
    }

    #[test]
    fn the_one_before_is_answered_alike_within_the_grace_and_must_be_proved_after_it() {
        let (first, _, known) = exchanged_once();
        assert_eq!(known.meaning_of(&first, NOW + millis(GRACE) - 1), Meaning::Repeated);
        assert_eq!(known.meaning_of(&first, NOW + millis(GRACE)), Meaning::Unproved);
    }

    #[test]
    fn an_older_one_is_reused_and_a_later_one_than_is_known_must_be_proved() {
        let (first, second, known) = exchanged_once();
        let third = second.successor(&[8; 32]);
        let forged = RefreshToken { secret: "guessed".to_owned(), ..second.clone() };
        assert_eq!(known.meaning_of(&forged, NOW), Meaning::Reused);
        assert_eq!(known.meaning_of(&third, NOW), Meaning::Unproved);
        let later = Known {
            generation: 2,
            token_hash: third.secret_hash().to_vec(),
            previous_hash: Some(second.secret_hash().to_vec()),
            ..known
        };
        assert_eq!(later.meaning_of(&first, NOW), Meaning::Reused);
    }

    #[test]
    fn a_successor_is_the_same_for_the_same_key_alone_and_stays_in_its_family() {
        let token = RefreshToken::draw();
        let successor = token.successor(&[1; 32]);
        assert!(successor == token.successor(&[1; 32]) && successor != token.successor(&[2; 32]));
        assert_eq!(successor.family_hash(), token.family_hash());
        assert_ne!(successor.secret_hash(), token.secret_hash());
        assert!(RefreshToken::parse(&successor.text()).unwrap() == successor);
    }

    #[test]
    fn a_token_of_the_version_before_is_its_own_family() {
        let token = RefreshToken::parse("abc").unwrap();
        assert_eq!((token.generation, token.family_hash(), token.secret_hash()), (0, hash("abc"), hash("abc")));
        for wrong in ["", "a.b", "a.-1.c", "a.x.c", "a.1.c.d", &"x".repeat(MAX_BYTES + 1)] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
