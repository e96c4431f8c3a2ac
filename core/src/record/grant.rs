//! Who may see what: a grant, or the revocation of one. Each is one document, written once: what was consented to is
//! never edited, it ends by a revocation, and a change of mind is a revocation and another grant.

use serde::{Deserialize, Serialize};

use super::{blank, project};
use crate::change::ReadChange;
use crate::collection::Collection;
use crate::id::DocId;
use crate::merge;
use crate::policy::{self, Access, AccountId, Permit, Purpose, Role};

/// Feeds that one grant may name: more than an account has.
pub const GRANTED_FEEDS: usize = 64;

/// A grant or a revocation as stored. Fields and ranges: docs/records.md.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct Grant {
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantee: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantee_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantee_role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// Milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<GrantedFeed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revokes: Option<String>,
}

/// One feed of a grant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is documented by its row in the tables, and so in docs/records.md")]
#[serde(default)]
pub struct GrantedFeed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// What a document of the collection `grants` says, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Somebody may see something.
    Given(Given),
    /// What the grant with this id permitted ends, whether it has arrived yet or not.
    Revoked(DocId),
}

/// A grant, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Who may.
    pub grantee: AccountId,
    /// What the grantee was when it was given.
    pub role: Role,
    /// Under which name the grantee sees the person.
    pub shown_as: String,
    /// What for.
    pub purpose: Purpose,
    /// In which feeds, and when.
    pub permits: Vec<Permit>,
}

/// Why a document of the collection `grants` says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConsent {
    /// Something is missing, or of another kind.
    #[error("a {kind} needs {field}: {expected}")]
    Field {
        /// Grant or revocation.
        kind: &'static str,
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// What nobody may ask for in that role.
    #[error(
        "a {role} may not be granted {collection} to {access} for {purpose}; docs/permissions.md lists what may be"
    )]
    NotForRole {
        /// The grantee's role.
        role: &'static str,
        /// Of the refused feed.
        collection: &'static str,
        /// Of the refused feed.
        access: &'static str,
        /// Of the grant.
        purpose: &'static str,
    },
    /// No such feed.
    #[error("{0} is no feed that can be granted")]
    NoSuchFeed(String),
    /// Would not be listed.
    #[error("a grant cannot be in the trash; revoke it")]
    Trashed,
    /// Ends before it begins.
    #[error("the grant ends before it begins")]
    EndsBeforeItBegins,
}

impl Consent {
    /// What `grant` says.
    ///
    /// # Errors
    /// [`BadConsent`] with the first thing that is wrong.
    pub fn of(grant: &Grant) -> Result<Self, BadConsent> {
        match grant.kind.as_deref() {
            Some("grant") => given(grant).map(Self::Given),
            Some("revocation") => {
                let named = grant.revokes.as_deref().and_then(|id| id.parse().ok());
                named.map(Self::Revoked).ok_or(BadConsent::Field {
                    kind: "revocation",
                    field: "revokes",
                    expected: "the id of the grant that ends",
                })
            }
            _ => Err(BadConsent::Field { kind: "consent", field: "kind", expected: "grant or revocation" }),
        }
    }

    /// What the single change of a document of the collection `grants` says.
    ///
    /// # Errors
    /// [`BadConsent`] with the first thing that is wrong.
    pub fn of_change(read: &ReadChange) -> Result<Self, BadConsent> {
        let unreadable = BadConsent::Field { kind: "consent", field: "kind", expected: "grant or revocation" };
        let mut doc = blank();
        merge::apply_read(&mut doc, vec![read.change().clone()]).map_err(|_| unreadable.clone())?;
        let projection = project(&doc, Collection::Grants);
        // Trashed from the start it would be in force and in no list.
        if projection.trashed {
            return Err(BadConsent::Trashed);
        }
        Self::of(&Grant::deserialize(&projection.record).map_err(|_| unreadable)?)
    }
}

fn given(grant: &Grant) -> Result<Given, BadConsent> {
    let need = |field, expected| BadConsent::Field { kind: "grant", field, expected };
    let grantee = grant.grantee.as_deref().and_then(|id| id.parse::<uuid::Uuid>().ok());
    let grantee = grantee.ok_or_else(|| need("grantee", "the id of an account"))?.into_bytes();
    let role = grant.grantee_role.as_deref().and_then(Role::named);
    let role = role.ok_or_else(|| need("grantee_role", "what the grantee is"))?;
    let purpose = grant.purpose.as_deref().and_then(Purpose::named);
    let purpose = purpose.ok_or_else(|| need("purpose", "what the grant is for"))?;
    let shown_as = grant.shown_as.clone().ok_or_else(|| need("shown_as", "the name that the grantee sees"))?;
    if grant.from.zip(grant.until).is_some_and(|(from, until)| until <= from) {
        return Err(BadConsent::EndsBeforeItBegins);
    }
    if grant.feeds.is_empty() || grant.feeds.len() > GRANTED_FEEDS {
        return Err(need("feeds", "1 to 64 of them"));
    }
    let permits = grant.feeds.iter().map(|feed| permit(grant, feed, role, purpose)).collect::<Result<_, _>>()?;
    Ok(Given { grantee, role, shown_as, purpose, permits })
}

fn permit(grant: &Grant, feed: &GrantedFeed, role: Role, purpose: Purpose) -> Result<Permit, BadConsent> {
    let need = |field, expected| BadConsent::Field { kind: "grant", field, expected };
    let access = feed.access.as_deref().and_then(Access::named).ok_or_else(|| need("access", "read or write"))?;
    let (name, scope) = (feed.collection.clone().unwrap_or_default(), feed.scope.clone().unwrap_or_default());
    let feeds = || Collection::feeds_of_an_account().filter(|(collection, _)| policy::is_shareable(*collection));
    let found = feeds().find(|(collection, one)| collection.name() == name && *one == scope);
    let (collection, _) = found.ok_or_else(|| {
        BadConsent::NoSuchFeed(if scope.is_empty() { name.clone() } else { format!("{name}/{scope}") })
    })?;
    if !role.asks(purpose, collection, access) {
        return Err(BadConsent::NotForRole {
            role: role.name(),
            collection: collection.name(),
            access: access.name(),
            purpose: purpose.name(),
        });
    }
    Ok(Permit { collection, scope, access, from_ms: grant.from, until_ms: grant.until })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TRAINER: &str = "01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49";

    fn grant(change: impl FnOnce(&mut Value)) -> Result<Consent, BadConsent> {
        let mut json = json!({
            "at": 1, "kind": "grant", "grantee": TRAINER, "grantee_role": "trainer", "shown_as": "Ann", "purpose": "training",
            "feeds": [{"collection": "workouts", "access": "write"}, {"collection": "insights", "scope": "training", "access": "read"}]
        });
        change(&mut json);
        Consent::of(&serde_json::from_value(json).expect("this is the JSON of a grant"))
    }

    #[test]
    fn a_grant_says_who_may_do_what_for_how_long() {
        let Ok(Consent::Given(given)) = grant(|json| json["until"] = json!(99)) else { panic!("this is a grant") };
        assert_eq!(given.grantee, *TRAINER.parse::<uuid::Uuid>().expect("a UUID").as_bytes());
        assert_eq!((given.role, given.purpose, given.shown_as.as_str()), (Role::Trainer, Purpose::Training, "Ann"));
        assert_eq!(given.permits[0].access, Access::Write);
        assert_eq!((given.permits[1].scope.as_str(), given.permits[1].until_ms), ("training", Some(99)));
    }

    #[test]
    fn a_revocation_names_its_grant() {
        let revocation = Grant { kind: Some("revocation".into()), revokes: Some(TRAINER.into()), ..Grant::default() };
        assert_eq!(Consent::of(&revocation), Ok(Consent::Revoked(TRAINER.parse().expect("a UUID"))));
        let nothing = Grant { revokes: None, ..revocation };
        assert!(matches!(Consent::of(&nothing), Err(BadConsent::Field { field: "revokes", .. })));
    }

    #[test]
    fn a_grant_that_lacks_something_or_goes_too_far_is_none() {
        for field in ["grantee", "grantee_role", "shown_as", "purpose", "feeds"] {
            let lacking = grant(|json| drop(json.as_object_mut().expect("an object").remove(field)));
            assert!(matches!(lacking, Err(BadConsent::Field { field: named, .. }) if named == field), "{field}");
        }
        let refused = |collection: &str, access: &str| {
            grant(|json| json["feeds"] = json!([{"collection": collection, "access": access}])).expect_err("refused")
        };
        assert!(matches!(refused("journal", "read"), BadConsent::NotForRole { collection: "journal", .. }));
        assert!(matches!(refused("meals", "write"), BadConsent::NotForRole { access: "write", .. }));
        assert_eq!(refused("inbox", "read"), BadConsent::NoSuchFeed("inbox".into()));
        assert_eq!(refused("chat", "read"), BadConsent::NoSuchFeed("chat".into()));
        let backwards = grant(|json| {
            json["from"] = json!(5);
            json["until"] = json!(5);
        });
        assert_eq!(backwards, Err(BadConsent::EndsBeforeItBegins));
    }
}
