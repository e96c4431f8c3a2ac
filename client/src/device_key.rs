//! The key pair of this installation. Its private half never leaves the home; the server knows the public one, and takes a
//! signature where it does not know the tokens that this home holds.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitme_core::store::{Store, StoreError};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// What precedes a challenge in what is signed, so that the signature is good for nothing else; the server has the same.
const PROOF_CONTEXT: &[u8] = b"fitme device proof v1\0";

/// The pair.
pub struct DeviceKey(Ed25519KeyPair);

impl DeviceKey {
    /// The pair of this home, made when it is first asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub fn of(store: &mut Store) -> Result<Self, StoreError> {
        let seed = store.device_seed(&mut rand::rng())?;
        Ok(Self(Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed of the right length makes a key pair")))
    }

    /// The public half, as the server takes it.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// The answer to a challenge; `None` if it is none.
    pub fn answer(&self, challenge: &str) -> Option<String> {
        let challenge = URL_SAFE_NO_PAD.decode(challenge).ok()?;
        Some(URL_SAFE_NO_PAD.encode(self.0.sign(&[PROOF_CONTEXT, &challenge].concat())))
    }
}
