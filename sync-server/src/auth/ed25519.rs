//! Ed25519 by ring, which TLS brings along anyway: the only signatures that this server makes or believes.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use signature::{Signer, Verifier};

/// Bytes of a public key.
pub const PUBLIC_BYTES: usize = 32;
/// Bytes of the seed that a key pair is made from.
pub const SEED_BYTES: usize = 32;

/// The public half of the pair that `seed` makes; `None` if it is no seed.
#[must_use]
pub fn public_key(seed: &[u8]) -> Option<[u8; PUBLIC_BYTES]> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    pair.public_key().as_ref().try_into().ok()
}

/// The signature of the pair that `seed` makes under `message`; `None` if it is no seed.
#[must_use]
pub fn sign(seed: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    Some(pair.sign(message).as_ref().to_vec())
}

/// Whether the owner of `public` signed `message`.
#[must_use]
pub fn is_signed(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// Makes this the cryptography of JSON Web Tokens in this process. Any algorithm but `EdDSA` is refused here once more.
pub fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| Ok(Box::new(Pair::new(*algorithm, key)?)),
        verifier_factory: |algorithm, key| Ok(Box::new(Public::new(*algorithm, key)?)),
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    ONCE.call_once(|| PROVIDER.install_default().expect("nothing else in this process installs a provider"));
}

struct Pair(Ed25519KeyPair);

impl Pair {
    /// An [`EncodingKey`] of this server holds a seed.
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Self, Error> {
        only_eddsa(algorithm)?;
        Ok(Self(Ed25519KeyPair::from_seed_unchecked(key.as_bytes()).map_err(|_| ErrorKind::InvalidEddsaKey)?))
    }
}

impl Signer<Vec<u8>> for Pair {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Pair {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Public(Vec<u8>);

impl Public {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        only_eddsa(algorithm)?;
        Ok(Self(key.try_get_as_bytes()?.to_vec()))
    }
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        if is_signed(&self.0, message, signature) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

fn only_eddsa(algorithm: Algorithm) -> Result<(), Error> {
    if algorithm == Algorithm::EdDSA { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}
