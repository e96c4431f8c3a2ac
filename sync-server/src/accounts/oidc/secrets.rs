//! What one sign-in by a provider is recognised by. Everything follows from the state that goes through the browser and the
//! master key, so that the database needs no more than a hash of the state, and any node can go on with the sign-in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier};

use crate::accounts::refresh_token::hash;
use crate::bytes::random_bytes;
use crate::master_key::MasterKey;

/// What the key of nonces and verifiers is derived under.
const KEY: &str = "fitme-sync 2026 oidc sign-in";
/// Random bytes of a state, and of a ticket.
const STATE_BYTES: usize = 32;

/// The state, nonce and PKCE verifier of a sign-in. Not `Debug`.
pub struct Secrets {
    state: String,
    nonce: String,
    verifier: String,
}

impl Secrets {
    /// Those of a new sign-in.
    pub fn draw(master: &MasterKey) -> Self {
        Self::of(master, random_text())
    }

    /// Those of the sign-in with this state.
    pub fn of(master: &MasterKey, state: String) -> Self {
        let key = master.derive(KEY);
        let derived = |what: &[u8]| {
            let bytes = blake3::Hasher::new_keyed(&key).update(what).update(state.as_bytes()).finalize();
            URL_SAFE_NO_PAD.encode(bytes.as_bytes())
        };
        let (nonce, verifier) = (derived(b"nonce\0"), derived(b"verifier\0"));
        Self { state, nonce, verifier }
    }

    pub(super) fn state(&self) -> CsrfToken {
        CsrfToken::new(self.state.clone())
    }

    pub(super) fn nonce(&self) -> Nonce {
        Nonce::new(self.nonce.clone())
    }

    /// Shown to the provider when the code is exchanged…
    pub(super) fn verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.verifier.clone())
    }

    /// …which has seen the hash of it when the browser came.
    pub(super) fn challenge(&self) -> PkceCodeChallenge {
        PkceCodeChallenge::from_code_verifier_sha256(&self.verifier())
    }

    /// What the database recognises the sign-in by.
    pub(super) fn state_hash(&self) -> [u8; blake3::OUT_LEN] {
        hash(&self.state)
    }
}

/// A text that nobody guesses.
pub(super) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<STATE_BYTES>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_with_the_master_key_derives_the_same_and_nobody_else_does() {
        let (master, other) = (MasterKey::random(), MasterKey::random());
        let drawn = Secrets::draw(&master);
        let again = Secrets::of(&master, drawn.state.clone());
        assert_eq!((&again.nonce, &again.verifier), (&drawn.nonce, &drawn.verifier));
        let elsewhere = Secrets::of(&other, drawn.state.clone());
        assert_ne!((&elsewhere.nonce, &elsewhere.verifier), (&drawn.nonce, &drawn.verifier));
        assert_ne!(Secrets::draw(&master).state, drawn.state);
        // RFC 7636 wants 43 to 128 characters.
        assert_eq!(drawn.verifier.len(), 43);
    }
}
