//! What an account is and what that lets it ask others for. docs/permissions.md shows these tables.

use std::fmt::{self, Write as _};

use uuid::Uuid;

use super::Access::{self, Read, Write};
use super::is_shareable;
use super::service::{Asked as ServiceAsks, SERVICES};
use crate::collection::Collection::{
    self, Biometrics, Insights, Journal, Meals, Measurements, Moods, Plans, Profile, Sleep, Workouts,
};

/// What an account is, which decides what it may ask others for. What it then sees is what they grant, never more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Somebody who logs their own life. Asks nobody for anything.
    Member,
    /// Plans training and looks after it.
    Trainer,
    /// Plans meals and looks after them.
    Nutritionist,
    /// Looks after the mind.
    Therapist,
    /// Looks after health as a whole.
    Doctor,
    /// A program that derives or tells something.
    Service,
    /// Runs the server. Sees nobody's records.
    Admin,
}

/// What a role may ask for: the purposes, and how far in which collections.
type Asks = (&'static [Purpose], &'static [(Collection, Access)]);

/// A role that is missing may ask for nothing.
const ASKS: [(Role, Asks); 5] = [
    (Role::Trainer, (&[Purpose::Training], TRAINING)),
    (Role::Nutritionist, (&[Purpose::Nutrition], NUTRITION)),
    (Role::Therapist, (&[Purpose::MentalHealth], MIND)),
    (Role::Doctor, (&[Purpose::Care], CARE)),
    (Role::Service, (&[Purpose::Insights, Purpose::Notifications], SERVICE)),
];

const TRAINING: &[(Collection, Access)] = &[
    (Profile, Read),
    (Workouts, Write),
    (Meals, Read),
    (Moods, Read),
    (Measurements, Write),
    (Biometrics, Read),
    (Sleep, Read),
    (Plans, Write),
    (Insights, Read),
];
const NUTRITION: &[(Collection, Access)] =
    &[(Profile, Read), (Workouts, Read), (Meals, Write), (Measurements, Write), (Plans, Write), (Insights, Read)];
const MIND: &[(Collection, Access)] =
    &[(Profile, Read), (Moods, Write), (Journal, Read), (Sleep, Read), (Plans, Write), (Insights, Read)];
const CARE: &[(Collection, Access)] = &[
    (Profile, Read),
    (Workouts, Read),
    (Meals, Read),
    (Moods, Read),
    (Measurements, Write),
    (Biometrics, Read),
    (Sleep, Read),
    (Plans, Write),
    (Insights, Read),
];
const SERVICE: &[(Collection, Access)] = &[
    (Profile, Read),
    (Workouts, Read),
    (Meals, Read),
    (Moods, Read),
    (Measurements, Read),
    (Biometrics, Read),
    (Sleep, Read),
    (Plans, Read),
    (Insights, Write),
];

/// What a grant is for; the person reads it before they consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Training plans and how they work out.
    Training,
    /// Meal plans and how they work out.
    Nutrition,
    /// Care for the mind.
    MentalHealth,
    /// Medical care.
    Care,
    /// Insights that a service derives.
    Insights,
    /// Reminders and news that a service sends.
    Notifications,
}

impl Role {
    /// All roles, in the order in which they are documented.
    pub const ALL: [Self; 7] =
        [Self::Member, Self::Trainer, Self::Nutritionist, Self::Therapist, Self::Doctor, Self::Service, Self::Admin];

    /// Its name on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Trainer => "trainer",
            Self::Nutritionist => "nutritionist",
            Self::Therapist => "therapist",
            Self::Doctor => "doctor",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What it may ask for: purposes, and how far in which collections.
    pub fn may_ask(self) -> (&'static [Purpose], &'static [(Collection, Access)]) {
        ASKS.iter().find(|(role, _)| *role == self).map_or((&[], &[]), |(_, asks)| *asks)
    }

    /// Whether it may ask for this.
    pub fn asks(self, purpose: Purpose, collection: Collection, access: Access) -> bool {
        let (purposes, collections) = self.may_ask();
        purposes.contains(&purpose) && collections.iter().any(|(one, most)| *one == collection && access <= *most)
    }
}

impl Purpose {
    /// All purposes, in the order in which they are documented.
    pub const ALL: [Self; 6] =
        [Self::Training, Self::Nutrition, Self::MentalHealth, Self::Care, Self::Insights, Self::Notifications];

    /// Its name on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Nutrition => "nutrition",
            Self::MentalHealth => "mental_health",
            Self::Care => "care",
            Self::Insights => "insights",
            Self::Notifications => "notifications",
        }
    }

    /// The purpose of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const HEAD: &str = "# Permissions

Who may see what is decided in one place, `core/src/policy.rs`. A person does in their own feeds what they like; everybody
else, services included, needs a grant of that person that is valid now. The tables below are generated from it; after a
change run `UPDATE_DOCS=1 cargo test -p fitme-core`.

What a role may ask for with an invitation. *write* includes *read*; nobody but the person erases. What is seen in the end
is what the person grants, never more. Insights are seen only by those who may also see what they are derived from:
training from workouts, nutrition from meals, mind from moods.
";

const SERVICES_HEAD: &str = "
The server's services are grantees like people and ask at sign-up; who says nothing lets them see nothing. No invitation
is needed. What they would see of moods is never part of a yes to the rest, and the journal they may not ask for.

| service | account | asks for | with moods also for |
|---|---|---|---|
";

/// docs/permissions.md.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    let roles: Vec<_> = ASKS.iter().map(|(role, _)| role.name()).collect();
    let _ = writeln!(text, "\n| | {} |\n|---|{}", roles.join(" | "), "---|".repeat(roles.len()));
    let purposes = ASKS.iter().map(|(_, (purposes, _))| {
        purposes.iter().map(|purpose| format!("`{}`", purpose.name())).collect::<Vec<_>>().join(", ")
    });
    let _ = writeln!(text, "| *for the purpose of* | {} |", purposes.collect::<Vec<_>>().join(" | "));
    for collection in Collection::ALL.into_iter().filter(|collection| is_shareable(*collection)) {
        let most = ASKS.iter().map(|(_, (_, most))| {
            most.iter().find(|(one, _)| *one == collection).map_or("–", |(_, access)| access.name())
        });
        let _ = writeln!(text, "| {collection} | {} |", most.collect::<Vec<_>>().join(" | "));
    }
    let never = Collection::ALL.into_iter().filter(|collection| !is_shareable(*collection));
    let never = never.map(Collection::name).collect::<Vec<_>>().join(" and ");
    let _ = writeln!(text, "\nNobody may ask for {never}. Members and admins may ask for nothing.");
    text + &services()
}

fn services() -> String {
    let feed = |(collection, scope, access): &ServiceAsks| match (*scope, access) {
        ("", Read) => collection.to_string(),
        ("", Write) => format!("{collection} (write)"),
        (scope, Read) => format!("{collection}/{scope}"),
        (scope, Write) => format!("{collection}/{scope} (write)"),
    };
    let feeds = |asks: &[ServiceAsks]| asks.iter().map(feed).collect::<Vec<_>>().join(", ");
    let mut text = SERVICES_HEAD.to_owned();
    for service in &SERVICES {
        let (asks, more) = (feeds(service.asks), feeds(service.asks_with_moods));
        let _ = writeln!(text, "| `{}` | {} | {asks} | {more} |", service.name, Uuid::from_bytes(service.account));
    }
    text
}
