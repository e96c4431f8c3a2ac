//! Who plays: one account of each role, and people who have each said something else about their records to all of them.

use std::collections::BTreeMap;

use fitme_core::collection::Collection;
use fitme_core::id::FeedId;
use fitme_core::policy::{self, Access, Action, Permit, Place, Purpose, Role};
use fitme_core::wire::Receipt;
use fitme_testing::{Database, Postgres, ServerHere};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sync_server::auth::Device;
use sync_server::master_key::MasterKey;
use uuid::Uuid;

use crate::client::{Answer, PASSWORD, post};
use crate::phones::{MORNING, Node, Person, Phone, code};

/// In the name under which an owner is seen: nobody else's answer may hold it.
pub const MARKER: &str = "Owner-Planted";

/// What an owner has said to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Nothing at all.
    Nothing,
    /// Yes to reading all that the role may read.
    Read,
    /// Yes to all that the role may ask for.
    Write,
    /// The same, for a time that is over.
    Over,
    /// The same, for a time that has not begun.
    NotYet,
    /// The same, and then no.
    Revoked,
    /// Yes to reading one feed.
    Only(Collection, &'static str),
}

const MINUTE_OF_1970: (i64, i64) = (1, 60_000);
const YEAR_2096: i64 = 4_000_000_000_000;

impl Said {
    fn all() -> impl Iterator<Item = Self> {
        let only = shareable().map(|(collection, scope)| Self::Only(collection, scope));
        [Self::Nothing, Self::Read, Self::Write, Self::Over, Self::NotYet, Self::Revoked].into_iter().chain(only)
    }

    /// From when and until when.
    fn window(self) -> (Option<i64>, Option<i64>) {
        match self {
            Self::Over => (Some(MINUTE_OF_1970.0), Some(MINUTE_OF_1970.1)),
            Self::NotYet => (Some(YEAR_2096), None),
            _ => (None, None),
        }
    }

    /// What it names for a role.
    pub fn feeds(self, role: Role) -> Vec<(Collection, &'static str, Access)> {
        let Some(purpose) = purpose_of(role) else { return Vec::new() };
        let most = |collection| {
            [Access::Write, Access::Read].into_iter().find(|access| role.asks(purpose, collection, *access))
        };
        let named = shareable().filter_map(|(collection, scope)| Some((collection, scope, most(collection)?)));
        match self {
            Self::Nothing => Vec::new(),
            Self::Read => named.map(|(collection, scope, _)| (collection, scope, Access::Read)).collect(),
            Self::Only(one, part) => named
                .filter(|(collection, scope, _)| (*collection, *scope) == (one, part))
                .map(|(collection, scope, _)| (collection, scope, Access::Read))
                .collect(),
            Self::Write | Self::Over | Self::NotYet | Self::Revoked => named.collect(),
        }
    }

    /// What it permits a role, as the judge is told.
    fn permits(self, role: Role) -> Vec<Permit> {
        if self == Self::Revoked {
            return Vec::new();
        }
        let (from_ms, until_ms) = self.window();
        let permit = |(collection, scope, access): (Collection, &str, Access)| Permit {
            collection,
            scope: scope.to_owned(),
            access,
            from_ms,
            until_ms,
        };
        self.feeds(role).into_iter().map(permit).collect()
    }
}

fn shareable() -> impl Iterator<Item = (Collection, &'static str)> {
    Collection::feeds_of_an_account().filter(|(collection, _)| policy::is_shareable(*collection))
}

/// What the role asks for; a role that asks for nothing has none.
pub fn purpose_of(role: Role) -> Option<Purpose> {
    role.may_ask().0.first().copied()
}

/// Somebody with records.
pub struct Owner {
    pub said: Said,
    pub account: Uuid,
    /// All feeds, with what they hold; a feed that nothing was written to holds nothing.
    pub feeds: BTreeMap<FeedId, (Collection, &'static str)>,
    pub phone: Phone,
}

impl Owner {
    /// Whether the judge lets an account of that role.
    pub fn lets(&self, who: &Grantee, action: Action, feed: FeedId) -> bool {
        let (collection, scope) = self.feeds[&feed];
        let place = Place { owner: self.account.into_bytes(), collection, scope };
        let permits = self.said.permits(who.role);
        policy::judge(who.account.into_bytes(), action, place, &permits, MORNING).is_ok()
    }
}

/// Somebody who would like to see them, signed in.
pub struct Grantee {
    pub role: Role,
    pub account: Uuid,
    pub signed_up: Value,
    pub phone: Phone,
}

impl Grantee {
    pub fn token(&self) -> &str {
        self.signed_up["access_token"].as_str().unwrap()
    }
}

/// All of them, on a server.
pub struct Cast {
    pub server: ServerHere,
    pub node: Node,
    pub owners: Vec<Owner>,
    pub grantees: Vec<Grantee>,
    _database: Database,
}

impl Cast {
    /// Everybody has signed up, and the owners have logged their mornings and said what they say.
    pub async fn set() -> Self {
        let database = Postgres::shared().database();
        let server = ServerHere::on(&database.url, &MasterKey::random());
        let node = Node::on(&database).await;
        let mut grantees = Vec::new();
        for (role, seed) in Role::ALL.into_iter().zip(1_000..) {
            grantees.push(grantee(&server, &node, role, seed).await);
        }
        let mut owners = Vec::new();
        for (said, seed) in Said::all().zip(1..) {
            let mut owner = owner(&node, said, seed).await;
            for grantee in &grantees {
                consent(&node, &mut owner, grantee).await;
            }
            owners.push(owner);
        }
        Self { server, node, owners, grantees, _database: database }
    }
}

async fn grantee(server: &ServerHere, node: &Node, role: Role, seed: u64) -> Grantee {
    let email = format!("{role}@example.org");
    let body = json!({ "email": email, "password": PASSWORD, "device_name": "laptop" });
    let Answer { body: signed_up, .. } = post(server.url(), "/v1/signup", &body).await;
    let id = |field: &str| signed_up[field].as_str().unwrap().parse::<Uuid>().unwrap();
    let (account, device) = (id("account"), id("device"));
    let token = server.mailed(&email, "fitme confirm");
    assert_eq!(post(server.url(), "/v1/confirm", &json!({ "token": token })).await.status, 200);
    // Only some roles can be had by asking for them.
    sqlx::query("UPDATE accounts SET role = $2 WHERE account = $1")
        .bind(account)
        .bind(role.name())
        .execute(&node.pool)
        .await
        .unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let actor = fitme_core::id::ActorId::random(&mut rng);
    Grantee { role, account, signed_up, phone: Phone { device: Device { device, account }, actor, rng } }
}

/// An owner with a record in each collection that is served.
async fn owner(node: &Node, said: Said, seed: u64) -> Owner {
    let person = node.person().await;
    let mut phone = node.phone(&person, seed).await;
    let (_, profile) = phone.profile();
    let logged = [
        (Collection::Profile, profile),
        (Collection::Workouts, phone.log(Collection::Workouts, &json!({ "start": MORNING })).1),
        (Collection::Meals, phone.log(Collection::Meals, &json!({ "at": MORNING, "kind": "lunch" })).1),
        (Collection::Moods, phone.log_mood(1).1),
        (Collection::Measurements, phone.log(Collection::Measurements, &json!({ "at": MORNING, "resting_hr": 50 })).1),
    ];
    for (collection, entry) in logged {
        let receipts = node.push(phone.device, person.feed(collection), vec![entry]).await;
        assert!(matches!(receipts[..], [Receipt::Accepted(_)]), "{collection}: {receipts:?}");
    }
    Owner { said, account: person.account, feeds: feeds_of(node, &person).await, phone }
}

async fn feeds_of(node: &Node, person: &Person) -> BTreeMap<FeedId, (Collection, &'static str)> {
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT feed, collection, scope FROM feeds WHERE account = $1")
            .bind(person.account)
            .fetch_all(&node.pool)
            .await
            .unwrap();
    let known = |collection: &str, scope: &str| {
        Collection::feeds_of_an_account().find(|(one, part)| one.name() == collection && *part == scope).unwrap()
    };
    rows.into_iter().map(|(feed, name, scope)| (FeedId(feed.cast_unsigned()), known(&name, &scope))).collect()
}

/// The owner accepts that the grantee asks, and says what they say.
async fn consent(node: &Node, owner: &mut Owner, grantee: &Grantee) {
    node.relate(owner.account, grantee.account).await;
    let feeds = owner.said.feeds(grantee.role);
    if feeds.is_empty() {
        return;
    }
    let feeds = feeds.into_iter().map(|(collection, scope, access)| {
        let mut feed = json!({ "collection": collection.name(), "access": access.name() });
        if !scope.is_empty() {
            feed["scope"] = json!(scope);
        }
        feed
    });
    let (from, until) = owner.said.window();
    let mut grant = json!({
        "at": MORNING, "kind": "grant", "grantee": grantee.account, "grantee_name": "asks",
        "grantee_role": grantee.role.name(), "shown_as": MARKER, "purpose": purpose_of(grantee.role).unwrap().name(),
        "feeds": feeds.collect::<Vec<_>>()
    });
    let times = [("from", from), ("until", until)].into_iter().filter_map(|(name, at)| Some((name, at?)));
    grant.as_object_mut().unwrap().extend(times.map(|(name, at)| (name.to_owned(), json!(at))));
    let (draft, entry) = owner.phone.log(Collection::Grants, &grant);
    let grants = *owner.feeds.iter().find(|(_, (collection, _))| *collection == Collection::Grants).unwrap().0;
    let mut said = vec![entry];
    if owner.said == Said::Revoked {
        let revocation = json!({ "at": MORNING, "kind": "revocation", "revokes": draft.doc_id.to_string() });
        said.push(owner.phone.log(Collection::Grants, &revocation).1);
    }
    for entry in said {
        let receipts = node.push(owner.phone.device, grants, vec![entry]).await;
        assert_eq!(code(&receipts[0]), "accepted", "{:?} to a {}: {receipts:?}", owner.said, grantee.role);
    }
}
