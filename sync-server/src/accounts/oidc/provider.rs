//! The conversation with the provider: where to send a browser, and whom the code that it brings back names. Every claim is
//! verified by the crate `openidconnect`; what is decided here is what it is verified against.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreIdTokenClaims, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::url::Url;
use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, EndUserEmail, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    OAuth2TokenResponse, RequestTokenError, Scope, TokenResponse,
};
use tokio::sync::Mutex;

use super::bounded_http::BoundedHttp;
use super::secrets::Secrets;
use super::settings::{OidcError, Settings};
use crate::accounts::credentials::normalised_email;
use crate::clock::{Clock, millis};

/// For how long the provider's addresses and keys are believed without a look.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// How soon they are looked at again because of a signature by an unknown key.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// For how long nobody asks a provider that did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Longest name of a person at a provider, as OpenID Connect bounds it.
const SUBJECT_BYTES: usize = 255;
/// Signatures that are believed: never `none`, never one by a secret that both sides know.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 3] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// A provider; cloning is cheap.
#[derive(Clone)]
pub struct Provider {
    settings: Settings,
    http: BoundedHttp,
    clock: Clock,
    known: Arc<Mutex<Option<Known>>>,
    /// When it was last asked in vain: nobody waits for it again soon after.
    silent_since_ms: Arc<AtomicI64>,
}

/// What the provider says of itself.
#[derive(Clone)]
struct Known {
    metadata: Arc<CoreProviderMetadata>,
    since_ms: i64,
}

/// Whom a provider named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider's name for the person, for ever.
    pub subject: String,
    /// Their address, where the provider has verified that it is theirs.
    pub email: Option<String>,
}

/// Why nobody was named; each completes a sentence for the person who wanted to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// No answer, or one that is none.
    #[error("it cannot be reached, or its answer cannot be read")]
    Unreachable,
    /// The provider says no, mostly because the person did.
    #[error("it did not sign you in")]
    Declined,
    /// The code is wrong, was used before, or belongs to another sign-in.
    #[error("it did not take its own code")]
    CodeRefused,
    /// Answered without naming anybody.
    #[error("its answer names nobody")]
    Nobody,
    /// A token of another provider.
    #[error("its answer was made by another provider")]
    Issuer,
    /// A token for somebody else.
    #[error("its answer is meant for another server")]
    Audience,
    /// A signature by an unknown key, or none.
    #[error("its answer is not signed by it")]
    Signature,
    /// A token of another sign-in.
    #[error("its answer belongs to another sign-in")]
    Nonce,
    /// A token that is over.
    #[error("its answer is too old, or a clock is wrong")]
    Expired,
}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

impl Provider {
    /// The provider that was named. It is asked for nothing before somebody signs in.
    ///
    /// # Errors
    /// When no connections can be made at all.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, OidcError> {
        let http = BoundedHttp::new().map_err(|error| OidcError::NoConnections(error.to_string()))?;
        Ok(Self { settings, http, clock, known: Arc::default(), silent_since_ms: Arc::new(AtomicI64::new(i64::MIN)) })
    }

    /// Its URL, as the operator named it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Where to send the browser of somebody who wants to sign in.
    ///
    /// # Errors
    /// When the provider cannot be asked where that is.
    pub async fn authorization_url(&self, secrets: &Secrets) -> Result<Url, Unproved> {
        let client = self.client(&*self.metadata(KEPT_FOR).await?);
        let (state, nonce) = (secrets.state(), secrets.nonce());
        let (url, ..) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scope(Scope::new("email".to_owned()))
            .set_pkce_challenge(secrets.challenge())
            .url();
        Ok(url)
    }

    /// Whom the code names that a browser brought back.
    ///
    /// # Errors
    /// When it names nobody, or what the provider answers does not belong to this sign-in.
    pub async fn identity(&self, code: String, secrets: &Secrets) -> Result<Identity, Unproved> {
        let client = self.client(&*self.metadata(KEPT_FOR).await?);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| Unproved::Unreachable)?
            .set_pkce_verifier(secrets.verifier())
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(_) => Unproved::CodeRefused,
                _ => Unproved::Unreachable,
            })?;
        let token = answer.id_token().ok_or(Unproved::Nobody)?;
        let claims = self.verified(token, secrets).await?;
        let subject = claims.subject().to_string();
        if subject.len() > SUBJECT_BYTES {
            return Err(Unproved::Nobody);
        }
        let email = match claims.email() {
            Some(email) => verified_email(Some(email), claims.email_verified()),
            None => self.email_by_user_info(&client, &answer, claims).await?,
        };
        Ok(Identity { subject, email })
    }

    /// The claims of a token of this sign-in. A key that is not known may be new, so it is looked for once.
    async fn verified<'a>(&self, token: &'a CoreIdToken, secrets: &Secrets) -> Result<&'a CoreIdTokenClaims, Unproved> {
        let mut refused = Unproved::Signature;
        for younger_than in [KEPT_FOR, AGAIN_AFTER] {
            let client = self.client(&*self.metadata(younger_than).await?);
            let now = DateTime::from_timestamp_millis(self.clock.now_ms()).unwrap_or(DateTime::<Utc>::MAX_UTC);
            let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS).set_time_fn(move || now);
            refused = match token.claims(&verifier, &secrets.nonce()) {
                Ok(claims) => return Ok(claims),
                Err(ClaimsVerificationError::SignatureVerification(_)) => Unproved::Signature,
                Err(ClaimsVerificationError::InvalidIssuer(_)) => return Err(Unproved::Issuer),
                Err(ClaimsVerificationError::InvalidAudience(_)) => return Err(Unproved::Audience),
                Err(ClaimsVerificationError::InvalidNonce(_)) => return Err(Unproved::Nonce),
                Err(ClaimsVerificationError::Expired(_)) => return Err(Unproved::Expired),
                Err(_) => return Err(Unproved::Nobody),
            };
        }
        Err(refused)
    }

    /// Many providers tell the address only here.
    async fn email_by_user_info(
        &self,
        client: &Client,
        answer: &CoreTokenResponse,
        claims: &CoreIdTokenClaims,
    ) -> Result<Option<String>, Unproved> {
        let asked = client.user_info(answer.access_token().clone(), Some(claims.subject().clone()));
        let Ok(asked) = asked else { return Ok(None) };
        let told: CoreUserInfoClaims = asked.request_async(&self.http).await.map_err(|_| Unproved::Unreachable)?;
        Ok(verified_email(told.email(), told.email_verified()))
    }

    fn client(&self, metadata: &CoreProviderMetadata) -> Client {
        let Settings { client_id, client_secret, callback, .. } = self.settings.clone();
        CoreClient::from_provider_metadata(metadata.clone(), client_id, Some(client_secret)).set_redirect_uri(callback)
    }

    /// What the provider says of itself, asked again where that is older. One asks, the others wait for it.
    async fn metadata(&self, younger_than: Duration) -> Result<Arc<CoreProviderMetadata>, Unproved> {
        self.refuse_while_silent()?;
        let mut known = self.known.lock().await;
        self.refuse_while_silent()?;
        let now_ms = self.clock.now_ms();
        if let Some(known) = known.as_ref().filter(|known| now_ms - known.since_ms < millis(younger_than)) {
            return Ok(Arc::clone(&known.metadata));
        }
        let found = CoreProviderMetadata::discover_async(self.settings.issuer.clone(), &self.http).await;
        let metadata = Arc::new(found.map_err(|error| {
            tracing::warn!(%error, "the sign-in provider could not be asked");
            // Not since it was asked: that is as long ago as it may be silent, and whoever waits would ask it again.
            self.silent_since_ms.store(self.clock.now_ms(), Ordering::Relaxed);
            Unproved::Unreachable
        })?);
        *known = Some(Known { metadata: Arc::clone(&metadata), since_ms: now_ms });
        Ok(metadata)
    }

    /// Requests that wait for a provider that is away would take the places of all others.
    fn refuse_while_silent(&self) -> Result<(), Unproved> {
        let silent_for = self.clock.now_ms().saturating_sub(self.silent_since_ms.load(Ordering::Relaxed));
        if (0..millis(ASK_AGAIN_AFTER)).contains(&silent_for) { Err(Unproved::Unreachable) } else { Ok(()) }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.settings.issuer).finish()
    }
}

/// An address that the provider has not verified is nobody's.
fn verified_email(email: Option<&EndUserEmail>, verified: Option<bool>) -> Option<String> {
    email.filter(|_| verified == Some(true)).and_then(|email| normalised_email(email))
}
