//! The judge's rules, each as a sentence that must hold.

use super::*;

const ANN: AccountId = [1; 16];
const TOM: AccountId = [2; 16];
const NOW: i64 = 1_000_000;

fn at(collection: Collection) -> Place<'static> {
    Place { owner: ANN, collection, scope: "" }
}

fn permit(collection: Collection, scope: &str, access: Access) -> Permit {
    Permit { collection, scope: scope.to_owned(), access, from_ms: None, until_ms: None }
}

#[test]
fn a_person_does_in_their_own_feeds_what_they_like() {
    for collection in Collection::ALL {
        for action in [Action::Read, Action::Write, Action::Erase] {
            assert_eq!(judge(ANN, action, at(collection), &[], NOW), Ok(()), "{collection}");
        }
    }
}

#[test]
fn nobody_else_does_anything_without_a_permit() {
    for collection in Collection::ALL {
        for action in [Action::Read, Action::Write, Action::Erase] {
            assert!(judge(TOM, action, at(collection), &[], NOW).is_err(), "{collection}");
        }
    }
}

/// The judge knows permits and no roles; who runs the server may be given none.
#[test]
fn an_admin_sees_nobodys_records() {
    for (purpose, collection) in Purpose::ALL.into_iter().flat_map(|purpose| Collection::ALL.map(|one| (purpose, one)))
    {
        for access in [Access::Read, Access::Write] {
            assert!(!Role::Admin.asks(purpose, collection, access), "{purpose:?}, {collection}");
        }
    }
}

#[test]
fn a_permit_to_read_is_not_one_to_write_and_none_is_one_to_erase() {
    let read = [permit(Collection::Workouts, "", Access::Read)];
    let place = at(Collection::Workouts);
    assert_eq!(judge(TOM, Action::Read, place, &read, NOW), Ok(()));
    assert_eq!(judge(TOM, Action::Write, place, &read, NOW), Err(Denied::ReadOnly));
    let write = [permit(Collection::Workouts, "", Access::Write)];
    assert_eq!(judge(TOM, Action::Write, place, &write, NOW), Ok(()));
    assert_eq!(judge(TOM, Action::Erase, place, &write, NOW), Err(Denied::OwnerOnly));
    assert_eq!(judge(TOM, Action::Read, at(Collection::Moods), &write, NOW), Err(Denied::NotGranted));
}

#[test]
fn a_permit_counts_from_its_first_millisecond_and_no_longer_at_its_last() {
    let window = Permit { from_ms: Some(NOW), until_ms: Some(NOW + 10), ..permit(Collection::Meals, "", Access::Read) };
    let judged = |now| judge(TOM, Action::Read, at(Collection::Meals), std::slice::from_ref(&window), now);
    assert_eq!(judged(NOW - 1), Err(Denied::NotYet));
    assert_eq!(judged(NOW), Ok(()));
    assert_eq!(judged(NOW + 9), Ok(()));
    assert_eq!(judged(NOW + 10), Err(Denied::Over));
}

#[test]
fn one_valid_permit_is_enough_among_others_that_are_not() {
    let over = Permit { until_ms: Some(1), ..permit(Collection::Meals, "", Access::Write) };
    let read = permit(Collection::Meals, "", Access::Read);
    for permits in [[over.clone(), read.clone()], [read, over]] {
        assert_eq!(judge(TOM, Action::Read, at(Collection::Meals), &permits, NOW), Ok(()));
    }
}

/// Found by the conformance suite: a grant that was over and one that lets read only were answered by the one that the
/// database happened to name last, so that a person asked for more time where they lacked the right to write.
#[test]
fn the_reason_is_the_nearest_to_yes_in_whatever_order_the_permits_come() {
    let read_only = permit(Collection::Workouts, "", Access::Read);
    let over = Permit { until_ms: Some(NOW), ..permit(Collection::Workouts, "", Access::Write) };
    for permits in [[read_only.clone(), over.clone()], [over, read_only]] {
        assert_eq!(judge(TOM, Action::Write, at(Collection::Workouts), &permits, NOW), Err(Denied::ReadOnly));
    }
}

#[test]
fn inbox_and_grants_are_never_shared_whatever_a_permit_says() {
    for collection in [Collection::Inbox, Collection::Grants] {
        let permits = [permit(collection, "", Access::Write)];
        assert_eq!(judge(TOM, Action::Read, at(collection), &permits, NOW), Err(Denied::NeverShared(collection)));
    }
}

#[test]
fn insights_need_the_permission_for_what_they_are_made_of() {
    let mind = Place { owner: ANN, collection: Collection::Insights, scope: "mind" };
    let class = permit(Collection::Insights, "mind", Access::Read);
    let alone = [class.clone()];
    assert_eq!(judge(TOM, Action::Read, mind, &alone, NOW), Err(Denied::SourceNotGranted(Collection::Moods)));
    let both = [class, permit(Collection::Moods, "", Access::Read)];
    assert_eq!(judge(TOM, Action::Read, mind, &both, NOW), Ok(()));
    let training = Place { scope: "training", ..mind };
    assert_eq!(judge(TOM, Action::Read, training, &both, NOW), Err(Denied::NotGranted), "a scope is not another one");
}

#[test]
fn no_role_may_ask_for_what_is_never_shared() {
    for role in Role::ALL {
        let (_, collections) = role.may_ask();
        assert!(collections.iter().all(|(collection, _)| is_shareable(*collection)), "{role}");
    }
}

#[test]
fn docs_permissions_md_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/permissions.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, reference()).expect("docs can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == reference(), "docs/permissions.md is stale: UPDATE_DOCS=1 cargo test -p fitme-core");
}
