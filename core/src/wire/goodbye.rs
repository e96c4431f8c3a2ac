//! Why a session ended, as programs compare it and as a person can act on it.

use fitme_proto::v1::goodbye::Reason;

/// Every reason with its code and what to do about it; the list of errors in the documentation is made from it.
pub const REASONS: [(Reason, &str, &str); 8] = [
    (Reason::Unspecified, "closed", "The server gave no reason: the device reconnects by itself."),
    (Reason::Shutdown, "shutdown", "The server restarts: the device reconnects by itself."),
    (Reason::Upgrade, "upgrade", "The server speaks a newer protocol: update the app. Everything stays on the device."),
    (Reason::SignInAgain, "sign_in_again", "The device's token is unknown or expired: log in again."),
    (Reason::BadFrame, "bad_frame", "A message broke the protocol or a limit: update the app, or report it."),
    (Reason::Overloaded, "session_overloaded", "The server has too much to do: the device reconnects by itself."),
    (Reason::Unavailable, "session_unavailable", "The server's database is away: the device reconnects by itself."),
    (Reason::Slow, "slow", "The device did not keep up: it reconnects by itself and goes on where it was."),
];

/// The code of a reason.
pub fn code(reason: Reason) -> &'static str {
    REASONS.iter().find(|(known, ..)| *known == reason).map_or("closed", |(_, code, _)| code)
}
