//! Every error an HTTP answer can carry, in one table; the list of errors in the documentation is made from it.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::Level;

/// When a client may try again what failed for a reason of the server's.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Classes and codes of SQLSTATE which say that the database is away, starting, stopping or full of connections.
const SQLSTATES_OF_ABSENCE: [&str; 5] = ["08", "57P01", "57P02", "57P03", "53300"];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    /// What programs compare; never changed once published.
    pub code: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// How the server logs it.
    pub level: Level,
    /// What a person can do about it.
    pub sentence: &'static str,
}

/// The table of errors: each with its code, its HTTP status, how the server logs it, and what a person can do about it.
macro_rules! errors {
    ($($(#[$about:meta])* $name:ident = $code:literal, $status:ident, $level:ident, $sentence:literal;)*) => {
        /// A kind of error as clients see it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ApiError {
            $($(#[$about])* $name,)*
        }

        impl ApiError {
            /// All of them, in the order of the documentation.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$name),*];

            /// What the table says of it.
            #[must_use]
            pub const fn row(self) -> ErrorRow {
                match self {
                    $(Self::$name => ErrorRow {
                        code: $code,
                        status: StatusCode::$status,
                        level: Level::$level,
                        sentence: $sentence,
                    },)*
                }
            }
        }
    };
}

errors! {
    /// Sign-up with an address that has an account.
    EmailTaken = "email_taken", CONFLICT, INFO,
        "This e-mail address has an account already; log in instead.";
    /// Sign-up where whoever runs the server makes the accounts.
    SignupClosed = "signup_closed", FORBIDDEN, INFO,
        "This server takes no sign-ups; ask whoever runs it for an account.";
    /// Login with an unknown address or a wrong password; which of both is not said.
    WrongCredentials = "wrong_credentials", UNAUTHORIZED, INFO,
        "E-mail address or password is wrong; check both.";
    /// A login without the code that the account asks for.
    CodeNeeded = "code_needed", UNAUTHORIZED, INFO,
        "This account asks for a code at login: add --code with the one that your app shows, or with a recovery code.";
    /// A code that is wrong, or was taken before.
    WrongCode = "wrong_code", UNAUTHORIZED, INFO,
        "The code is wrong or was used before; wait for the next one.";
    /// The second factor is on already.
    TotpOn = "totp_on", CONFLICT, INFO,
        "The account asks for codes already; turn that off first.";
    /// There is no second factor to turn off.
    TotpOff = "totp_off", CONFLICT, INFO,
        "The account asks for no codes; there is nothing to turn off.";
    /// A mailed token that is unknown, used or over.
    WrongToken = "wrong_token", BAD_REQUEST, INFO,
        "The mailed token is wrong, was used before or is too old; `fitme password --forgotten --email …` has another one mailed, which confirms the address as well.";
    /// A sign-in by a provider that nobody waits for.
    WrongSignIn = "wrong_sign_in", BAD_REQUEST, INFO,
        "This sign-in is unknown, was finished before or took too long; start it again.";
    /// The sign-in provider could not be asked, or named nobody.
    ProviderFailed = "provider_failed", BAD_GATEWAY, WARN,
        "The sign-in provider could not be asked, or signed nobody in; start again, or log in with a password.";
    /// A first sign-in by a provider that has not verified the person's address.
    EmailUnverified = "email_unverified", FORBIDDEN, INFO,
        "The sign-in provider has not verified your e-mail address; have it verified there, or sign up with a password.";
    /// A first sign-in by a provider with an address that has an account.
    LinkNeeded = "link_needed", CONFLICT, INFO,
        "Your e-mail address has an account already; log in with its password, then use `fitme link`.";
    /// The identity at the provider enters another account.
    LinkedElsewhere = "linked_elsewhere", CONFLICT, INFO,
        "This identity at the sign-in provider belongs to another account already; use another one.";
    /// Too many failed logins for this address from this network.
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, WARN,
        "Too many logins have failed; try again after the time in retry-after.";
    /// The request does not have the form it must have.
    BadRequest = "bad_request", BAD_REQUEST, INFO,
        "The request does not have the form that this address takes; correct what the message names.";
    /// No access token, or one that is wrong or expired.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, INFO,
        "The access token is missing, wrong or expired; get another one for the refresh token.";
    /// The device's sign-in has ended.
    SignedOut = "signed_out", UNAUTHORIZED, INFO,
        "This device is not signed in any more; log in again.";
    /// The device was revoked from another one.
    DeviceRevoked = "device_revoked", UNAUTHORIZED, INFO,
        "This device was revoked; log in again to use it.";
    /// The device was revoked as lost.
    DeviceLost = "device_lost", UNAUTHORIZED, INFO,
        "This device was reported lost and removes what it holds.";
    /// The device's account was erased.
    AccountErased = "account_erased", UNAUTHORIZED, INFO,
        "This device's account was erased; the device removes what it holds.";
    /// A record that is kept for ever.
    NotErasable = "not_erasable", CONFLICT, INFO,
        "This record cannot be erased; the message says why.";
    /// A refresh token that this server does not know.
    ProveDevice = "prove_device", UNAUTHORIZED, INFO,
        "The server does not know this refresh token; prove by the device's key that it is the same device, or log in again.";
    /// An account whose address is not confirmed wants to deal with others.
    AddressUnconfirmed = "address_unconfirmed", FORBIDDEN, INFO,
        "Confirm this account's address first: `fitme confirm TOKEN` with the token that was mailed to it.";
    /// What the account's role may not ask others for.
    NotForRole = "not_for_role", FORBIDDEN, INFO,
        "This account's role may not ask others for that; docs/permissions.md lists what it may ask for.";
    /// An invitation that nobody made, that is over, or that somebody else has accepted.
    UnknownInvite = "unknown_invite", NOT_FOUND, INFO,
        "There is no such invitation: it is mistyped, over, your own or accepted by somebody else; ask for a new one.";
    /// More invitations than can be open.
    TooManyInvites = "too_many_invites", CONFLICT, INFO,
        "Too many invitations of this account wait to be accepted; wait until some are accepted or over.";
    /// More requests than one address or account may send.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, WARN,
        "Too many requests come from this network address or account; try again after the time in retry-after.";
    /// A web page of another origin sends something, or opens a session.
    CrossSite = "cross_site", FORBIDDEN, INFO,
        "This page may not use the server from a browser; its operator can allow the page's origin by FITME_ALLOWED_ORIGINS.";
    /// The body is longer than this address takes.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, INFO,
        "The body is longer than this address takes; send less at once.";
    /// The server could not answer in time.
    Timeout = "timeout", GATEWAY_TIMEOUT, WARN,
        "The server could not answer in time; try again later.";
    /// The server has too much to do.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, WARN,
        "The server has too much to do; try again after the time in retry-after.";
    /// The database is away.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, WARN,
        "The server cannot reach its database; try again after the time in retry-after.";
    /// A fault of the server's.
    Internal = "internal", INTERNAL_SERVER_ERROR, ERROR,
        "The server made a mistake; report it with the value of the x-request-id header.";
    /// Nothing is served there.
    NotFound = "not_found", NOT_FOUND, INFO,
        "Nothing is served at this address with this method; check both.";
}

impl ApiError {
    /// The same error with the time after which it is worth trying again.
    #[must_use]
    pub fn after(self, wait: Duration) -> Refusal {
        Refusal { retry_after: Some(wait), ..Refusal::from(self) }
    }

    /// The same error with a sentence of its own for the client.
    #[must_use]
    pub fn because(self, message: impl Into<String>) -> Refusal {
        Refusal { message: Some(message.into()), ..Refusal::from(self) }
    }

    /// The same error with a cause for the log alone; it must hold no secret and nobody's data.
    #[must_use]
    pub fn caused_by(self, cause: impl fmt::Display) -> Refusal {
        Refusal { cause: Some(cause.to_string()), ..Refusal::from(self) }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Which.
    pub error: ApiError,
    message: Option<String>,
    cause: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Writes the error to the log, in the span of its request.
    pub fn log(&self) {
        let row = self.error.row();
        let cause = self.cause.as_deref().unwrap_or_default();
        // The level of an event is part of its call site, so one call a level it is.
        match row.level {
            Level::ERROR => tracing::error!(code = row.code, cause, "request failed"),
            Level::WARN => tracing::warn!(code = row.code, cause, "request failed"),
            _ => tracing::info!(code = row.code, cause, "request refused"),
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let passes = matches!(error, ApiError::Overloaded | ApiError::Unavailable);
        Self { error, message: None, cause: None, retry_after: passes.then_some(RETRY_AFTER) }
    }
}

/// A database that is away is `unavailable`; anything else it says is our mistake. Postgres keeps row values out of the
/// primary message, which is all that is kept of it.
impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        let kind = if is_absence(&error) { ApiError::Unavailable } else { ApiError::Internal };
        kind.caused_by(error)
    }
}

/// Whether the database could not be reached, as opposed to having refused a statement.
#[must_use]
pub fn is_absence(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(refused) => {
            refused.code().is_some_and(|code| SQLSTATES_OF_ABSENCE.iter().any(|known| code.starts_with(known)))
        }
        _ => false,
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'static str,
    message: &'a str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let row = self.error.row();
        let message = self.message.as_deref().unwrap_or(row.sentence);
        let body = Json(Envelope { error: Body { code: row.code, message } });
        let mut response = (row.status, body).into_response();
        if let Some(wait) = self.retry_after {
            // In whole seconds, none too early.
            let seconds = wait.as_millis().div_ceil(1_000);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Refusal::from(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_error_has_a_code_of_its_own_and_a_sentence() {
        let codes: HashSet<_> = ApiError::ALL.iter().map(|error| error.row().code).collect();
        assert_eq!(codes.len(), ApiError::ALL.len());
        for error in ApiError::ALL {
            assert!(error.row().sentence.ends_with('.'), "{error:?} must be explained by a sentence");
        }
    }
}
