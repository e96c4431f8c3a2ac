//! Why a session ended, as programs compare it and as a person can act on it.

use fitme_proto::v1::goodbye::Reason;

/// Every reason that this server gives, with its code and what to do about it; the list of errors in the documentation
/// is made from it.
pub const REASONS: [(Reason, &str, &str); 8] = [
    (Reason::Upgrade, "upgrade", "The server speaks a newer protocol: update the app. Everything stays on the device."),
    (Reason::SignInAgain, "sign_in_again", "The device was signed out: log in again. Everything stays on the device."),
    (
        Reason::TokenExpired,
        "token_expired",
        "The access token ended: the device gets the next one and reconnects by itself.",
    ),
    (Reason::BadFrame, "bad_frame", "A message broke the protocol or a limit: update the app, or report it."),
    (Reason::Shutdown, "shutdown", "The server restarts: the device reconnects by itself."),
    (Reason::Unavailable, "session_unavailable", "The server's database is away: the device reconnects by itself."),
    (Reason::TooFast, "too_fast", "The device sent more frames than a server takes: it reconnects by itself, later."),
    (Reason::Displaced, "displaced", "Newer connections of the device took its place: it reconnects by itself, later."),
];

/// The code of a reason; one that this version does not know is `closed`.
pub fn code(reason: Reason) -> &'static str {
    REASONS.iter().find(|(known, ..)| *known == reason).map_or("closed", |(_, code, _)| code)
}
