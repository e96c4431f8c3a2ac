//! Which provider signs people in, as the operator names it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clap::Args;
use openidconnect::url::{Host, Url};
use openidconnect::{ClientId, ClientSecret, IssuerUrl, RedirectUrl};

/// The route to which the provider sends browsers back, below the server's own address.
pub(super) const CALLBACK: &str = "/v1/oidc/callback";

/// The provider of OpenID Connect that signs people in beside passwords; all four or none.
#[derive(Debug, Clone, Default, Args)]
pub struct OidcArgs {
    /// Address of an OpenID Connect provider through which people may sign in, such as https://id.example.org.
    #[arg(long, env = "FITME_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,
    /// Under which name the provider knows this server.
    #[arg(long, env = "FITME_OIDC_CLIENT_ID", value_name = "NAME")]
    pub oidc_client_id: Option<String>,
    /// The secret that goes with the name. Give it by the environment.
    #[arg(long, env = "FITME_OIDC_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub oidc_client_secret: Option<HiddenSecret>,
    /// Address at which browsers reach this server, such as https://sync.example.org; the provider must allow
    /// its /v1/oidc/callback as redirect.
    #[arg(long, env = "FITME_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
}

/// A secret as it was given: it is never printed.
#[derive(Clone)]
pub struct HiddenSecret(String);

impl FromStr for HiddenSecret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for HiddenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenSecret(hidden)")
    }
}

/// Why the provider cannot be used as it was named; each is a sentence that says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// Something is missing.
    #[error("sign-in by a provider needs {0} as well; set it, or unset all of FITME_OIDC_*")]
    Missing(&'static str),
    /// The issuer is none.
    #[error("FITME_OIDC_ISSUER={0} is no address of a provider; write for example https://id.example.org")]
    BadIssuer(String),
    /// The own address is none.
    #[error("FITME_PUBLIC_URL={0} is no address that browsers reach; write for example https://sync.example.org")]
    BadPublicUrl(String),
    /// No TLS.
    #[error("connections to the sign-in provider cannot be made: {0}; correct this system's settings of TLS")]
    NoConnections(String),
}

/// A provider, and who this server is to it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) issuer: IssuerUrl,
    pub(super) client_id: ClientId,
    pub(super) client_secret: ClientSecret,
    pub(super) callback: RedirectUrl,
}

impl Settings {
    /// What was named; `None` where no provider was.
    ///
    /// # Errors
    /// When something is missing, or no address.
    pub fn of(args: &OidcArgs) -> Result<Option<Self>, OidcError> {
        let named = [args.oidc_issuer.is_some(), args.oidc_client_id.is_some(), args.oidc_client_secret.is_some()];
        if named == [false; 3] {
            return Ok(None);
        }
        let issuer = args.oidc_issuer.clone().ok_or(OidcError::Missing("FITME_OIDC_ISSUER"))?;
        let client_id = args.oidc_client_id.clone().ok_or(OidcError::Missing("FITME_OIDC_CLIENT_ID"))?;
        let secret = args.oidc_client_secret.clone().ok_or(OidcError::Missing("FITME_OIDC_CLIENT_SECRET"))?;
        let public_url = args.public_url.clone().ok_or(OidcError::Missing("FITME_PUBLIC_URL"))?;
        let callback = format!("{}{CALLBACK}", public_url.trim_end_matches('/'));
        let issuer = IssuerUrl::new(issuer.clone())
            .ok()
            .filter(|url| keeps_secrets(url.url()))
            .ok_or(OidcError::BadIssuer(issuer))?;
        let callback = RedirectUrl::new(callback)
            .ok()
            .filter(|url| keeps_secrets(url.url()))
            .ok_or(OidcError::BadPublicUrl(public_url))?;
        Ok(Some(Self {
            issuer,
            client_id: ClientId::new(client_id),
            client_secret: ClientSecret::new(secret.0),
            callback,
        }))
    }
}

/// Whether nobody on the way can read what is sent there: https, or this very computer.
pub(super) fn keeps_secrets(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)
}

/// Whether a URL leads to this computer. By name it may be led elsewhere, but only by who runs the computer.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    fn given(issuer: &str, public_url: &str) -> OidcArgs {
        OidcArgs {
            oidc_issuer: Some(issuer.to_owned()),
            oidc_client_id: Some("fitme".to_owned()),
            oidc_client_secret: Some("planted".parse().unwrap()),
            public_url: Some(public_url.to_owned()),
        }
    }

    #[test]
    fn a_provider_is_named_in_full_or_not_at_all() {
        assert!(Settings::of(&OidcArgs::default()).unwrap().is_none());
        let only_public = OidcArgs { public_url: Some("https://sync.example.org".to_owned()), ..OidcArgs::default() };
        assert!(Settings::of(&only_public).unwrap().is_none(), "others use it as well");
        let settings = Settings::of(&given("https://id.example.org", "https://sync.example.org/")).unwrap().unwrap();
        assert_eq!(settings.callback.as_str(), "https://sync.example.org/v1/oidc/callback");
        let without = OidcArgs { oidc_client_secret: None, ..given("https://id.example.org", "https://x.example.org") };
        assert_eq!(Settings::of(&without).unwrap_err(), OidcError::Missing("FITME_OIDC_CLIENT_SECRET"));
    }

    #[test]
    fn the_secret_goes_to_nobody_who_listens_on_the_way_nor_into_a_log() {
        for issuer in ["http://id.example.org", "id.example.org", "ftp://id.example.org"] {
            let refused = Settings::of(&given(issuer, "https://sync.example.org")).unwrap_err();
            assert_eq!(refused, OidcError::BadIssuer(issuer.to_owned()));
        }
        let refused = Settings::of(&given("https://id.example.org", "http://sync.example.org")).unwrap_err();
        assert!(matches!(refused, OidcError::BadPublicUrl(_)));
        let here = given("http://127.0.0.1:4000", "http://[::1]:8080");
        let settings = Settings::of(&here).unwrap().unwrap();
        assert!(!format!("{here:?} {settings:?}").contains("planted"));
    }
}
