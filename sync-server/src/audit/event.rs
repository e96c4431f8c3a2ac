//! What is recorded: everything by which somebody got to an account's data, or lost the way to it. Ids, names of feeds and
//! ranges of numbers alone: what a record holds is nobody's business here.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Something that a member may want to know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum Event {
    /// A device was signed in: by password, by its key, or because the account was just made.
    SignedIn {
        /// Which.
        device: Uuid,
    },
    /// A device was signed out by itself.
    SignedOut {
        /// Which.
        device: Uuid,
    },
    /// A token that had been exchanged long ago was shown; the device's sign-in was ended.
    TokenReused {
        /// Whose token.
        device: Uuid,
    },
    /// A device was signed out from another one.
    DeviceRevoked {
        /// Which.
        device: Uuid,
        /// Whether it is to remove what it holds.
        lost: bool,
        /// The device that did it.
        by: Uuid,
    },
    /// The account has another password.
    PasswordChanged {
        /// How.
        by: By,
    },
    /// Logins ask for a code from now on.
    SecondFactorOn {
        /// The device that did it.
        by: Uuid,
    },
    /// Logins ask for no code any more.
    SecondFactorOff {
        /// The device that did it.
        by: Uuid,
    },
    /// Somebody whom a provider names may enter from now on.
    IdentityLinked {
        /// The device that did it.
        by: Uuid,
    },
    /// Somebody may see something.
    Granted {
        /// The grant's document.
        grant: String,
        /// Who may.
        grantee: Uuid,
        /// What they were then.
        role: &'static str,
        /// What for.
        purpose: &'static str,
        /// What, as `meals`, `workouts:write` or `insights/training`.
        feeds: Vec<String>,
        /// From when on, ms UTC.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<i64>,
        /// Until when, ms UTC.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
        /// The device that wrote it.
        by: Uuid,
    },
    /// A grant has ended.
    GrantRevoked {
        /// The grant's document.
        grant: String,
        /// Who might; unknown where the revocation came before its grant.
        #[serde(skip_serializing_if = "Option::is_none")]
        grantee: Option<Uuid>,
        /// The device that wrote it.
        by: Uuid,
    },
    /// Somebody else was sent entries.
    Read {
        /// The account.
        reader: Uuid,
        /// With which of its devices.
        device: Uuid,
        /// What the grants are for under which they were read.
        purposes: Vec<String>,
        /// Of which feed, as `meals` or `insights/training`.
        feed: String,
        /// The lowest number.
        first: i64,
        /// The highest.
        last: i64,
        /// When the last of them were sent, ms UTC; the record's own time is that of the first.
        until: i64,
    },
    /// A copy of everything was taken.
    Exported {
        /// Who took it.
        by: By,
        /// In which form.
        form: &'static str,
    },
}

/// Who did something that is not only done from devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A device of the account.
    Device(Uuid),
    /// Whoever has the account's mail.
    Mail,
    /// An operator of the server.
    Admin,
}

impl Event {
    /// Its kind, and the rest of it as the JSON that is hashed.
    pub(super) fn into_columns(self) -> (String, String) {
        let mut whole = serde_json::to_value(self).expect("ids, numbers and names are JSON");
        let kind = whole["kind"].as_str().expect("every event has a kind").to_owned();
        (kind, whole["detail"].take().to_string())
    }
}

/// A feed as people name it.
#[must_use]
pub fn feed_name(collection: &str, scope: &str) -> String {
    if scope.is_empty() { collection.to_owned() } else { format!("{collection}/{scope}") }
}

/// What was recorded, as JSON again; null for what no server wrote.
pub(super) fn parse(detail: &str) -> Value {
    serde_json::from_str(detail).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was hashed once is hashed the same by every later version.
    #[test]
    fn the_columns_of_an_event_are_frozen() {
        let device = Uuid::from_u128(7);
        let columns = |event: Event| event.into_columns();
        assert_eq!(
            columns(Event::SignedIn { device }),
            ("signed_in".to_owned(), r#"{"device":"00000000-0000-0000-0000-000000000007"}"#.to_owned())
        );
        assert_eq!(columns(Event::Exported { by: By::Admin, form: "json" }).1, r#"{"by":"admin","form":"json"}"#);
        assert_eq!(
            columns(Event::PasswordChanged { by: By::Device(device) }).1,
            r#"{"by":{"device":"00000000-0000-0000-0000-000000000007"}}"#
        );
    }
}
