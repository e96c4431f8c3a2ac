//! The programs that come with every server: what they are for, and what they ask of a person who wants them. They are grantees
//! like people, by accounts of the role `service` that every database has; nobody needs an invitation to let them in.

use uuid::Uuid;

use super::Access::{self, Read, Write};
use super::{AccountId, Purpose};
use crate::collection::Collection::{
    self, Biometrics, Insights, Meals, Measurements, Moods, Plans, Profile, Sleep, Workouts,
};

/// A feed by collection and scope, and how far in it.
pub type Asked = (Collection, &'static str, Access);

/// A program that derives or tells something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Its account, the same one on every server.
    pub account: AccountId,
    /// How people call it.
    pub name: &'static str,
    /// The one purpose for which it may be granted something.
    pub purpose: Purpose,
    /// What it asks of everybody who wants it.
    pub asks: &'static [Asked],
    /// What it asks besides of somebody who wants their moods to be looked at too. Nobody is taken to want that.
    pub asks_with_moods: &'static [Asked],
}

/// All services. Never renumbered: grants name their accounts.
pub const SERVICES: [Service; 2] = [
    Service {
        account: Uuid::from_u128(0xf17e_0000_0000_8000_8000_0000_0000_0001).into_bytes(),
        name: "insights",
        purpose: Purpose::Insights,
        asks: &[
            (Profile, "", Read),
            (Workouts, "", Read),
            (Meals, "", Read),
            (Measurements, "", Read),
            (Biometrics, "", Read),
            (Sleep, "", Read),
            (Plans, "", Read),
            (Insights, "training", Write),
            (Insights, "nutrition", Write),
        ],
        asks_with_moods: &[(Moods, "", Read), (Insights, "mind", Write)],
    },
    Service {
        account: Uuid::from_u128(0xf17e_0000_0000_8000_8000_0000_0000_0002).into_bytes(),
        name: "notifications",
        purpose: Purpose::Notifications,
        asks: &[(Profile, "", Read), (Workouts, "", Read), (Meals, "", Read), (Sleep, "", Read), (Plans, "", Read)],
        asks_with_moods: &[(Moods, "", Read)],
    },
];

impl Service {
    /// The service of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.name == name)
    }

    /// The service whose account it is.
    pub fn of(account: AccountId) -> Option<&'static Self> {
        SERVICES.iter().find(|service| service.account == account)
    }

    /// What it asks of somebody.
    pub fn feeds(&self, with_moods: bool) -> impl Iterator<Item = Asked> {
        let more = if with_moods { self.asks_with_moods } else { &[] };
        self.asks.iter().chain(more).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Permit, Role, judge, sources};

    #[test]
    fn a_service_asks_for_what_its_role_may_ask_and_by_default_for_nothing_of_the_mind() {
        for service in SERVICES {
            for (collection, scope, access) in service.feeds(true) {
                assert!(Role::Service.asks(service.purpose, collection, access), "{} {collection}", service.name);
                let known = Collection::feeds_of_an_account().any(|feed| feed == (collection, scope));
                assert!(known, "{collection}/{scope} is a feed");
            }
            for (collection, scope, _) in service.feeds(false) {
                let of_the_mind = [Moods, Collection::Journal];
                assert!(!of_the_mind.contains(&collection), "{} {collection}", service.name);
                assert!(!sources(collection, scope).iter().any(|source| of_the_mind.contains(source)));
            }
        }
    }

    #[test]
    fn what_a_service_asks_for_suffices_for_what_it_does() {
        let owner = [9; 16];
        for service in SERVICES {
            for with_moods in [false, true] {
                let permits: Vec<_> = service
                    .feeds(with_moods)
                    .map(|(collection, scope, access)| Permit {
                        collection,
                        scope: scope.to_owned(),
                        access,
                        from_ms: None,
                        until_ms: None,
                    })
                    .collect();
                for (collection, scope, access) in service.feeds(with_moods) {
                    let place = crate::policy::Place { owner, collection, scope };
                    let action =
                        if access == Write { crate::policy::Action::Write } else { crate::policy::Action::Read };
                    assert_eq!(judge(service.account, action, place, &permits, 0), Ok(()), "{collection}/{scope}");
                }
            }
        }
    }

    #[test]
    fn services_are_found_by_name_and_account() {
        for service in &SERVICES {
            assert_eq!(Service::named(service.name), Some(service));
            assert_eq!(Service::of(service.account), Some(service));
        }
        assert_eq!((Service::named("billing"), Service::of([0; 16])), (None, None));
    }
}
