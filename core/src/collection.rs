//! The collections an account has, each one feed, or one feed per scope.

use std::fmt;

/// What kind of records a feed holds. With the account and the scope it is the unit of order, permission and priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Collection {
    /// The one document about the person.
    Profile,
    /// Strength and endurance sessions.
    Workouts,
    /// What was eaten.
    Meals,
    /// How it felt.
    Moods,
    /// Weight, waist, blood pressure…
    Measurements,
    /// Private prose, sealed on the device.
    Journal,
    /// Readings of wearables.
    Biometrics,
    /// Nights.
    Sleep,
    /// Assigned training and meals.
    Plans,
    /// Messages from services to the person.
    Inbox,
    /// Who may see what.
    Grants,
    /// What services derived, one scope per class of protection.
    Insights,
}

impl Collection {
    /// All collections, in the order in which they are documented.
    pub const ALL: [Self; 12] = [
        Self::Profile,
        Self::Workouts,
        Self::Meals,
        Self::Moods,
        Self::Measurements,
        Self::Journal,
        Self::Biometrics,
        Self::Sleep,
        Self::Plans,
        Self::Inbox,
        Self::Grants,
        Self::Insights,
    ];

    /// The (collection, scope) pairs of the feeds that every account has from its first day.
    pub fn feeds_of_an_account() -> impl Iterator<Item = (Self, &'static str)> {
        Self::ALL.into_iter().flat_map(|collection| collection.scopes().iter().map(move |scope| (collection, *scope)))
    }

    fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Insights => &["training", "nutrition", "mind"],
            _ => &[""],
        }
    }

    /// Whether this version of the engine reads and writes records of it. The others have their feeds already, so that a
    /// device finds them where it will look.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Profile | Self::Workouts | Self::Meals | Self::Moods | Self::Measurements | Self::Grants)
    }

    /// Whether its documents are one change each and never edited: what was consented to must stay what it was.
    pub fn is_write_once(self) -> bool {
        matches!(self, Self::Grants)
    }

    /// Its name on the wire, in both databases and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Workouts => "workouts",
            Self::Meals => "meals",
            Self::Moods => "moods",
            Self::Measurements => "measurements",
            Self::Journal => "journal",
            Self::Biometrics => "biometrics",
            Self::Sleep => "sleep",
            Self::Plans => "plans",
            Self::Inbox => "inbox",
            Self::Grants => "grants",
            Self::Insights => "insights",
        }
    }

    /// The collection of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.name() == name)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
