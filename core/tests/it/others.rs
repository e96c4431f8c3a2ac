//! What others share, in the store of whoever may see it: kept apart, removed to the end, and what a crash leaves is
//! tidied up.

use fitme_core::id::{Epoch, FeedId};
use fitme_core::policy::Access;
use fitme_core::store::{Command, Store};
use fitme_core::wire::{FeedGranted, Receipt, Refusal};
use serde_json::json;

use crate::hub::{Device, Hub, MORNING};

const ANN: [u8; 16] = [77; 16];

fn granted(feed: u64, collection: &str) -> FeedGranted {
    FeedGranted {
        feed: FeedId(feed),
        account: ANN,
        collection: collection.to_owned(),
        scope: String::new(),
        epoch: Epoch([5; 8]),
        access: Access::Read,
        owner_name: "Ann".to_owned(),
    }
}

fn files_of_others(device: &Device) -> usize {
    let folder = device.store.path().parent().unwrap();
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains("-of-")).count()
}

#[test]
fn a_feed_that_is_revoked_goes_and_the_last_one_takes_the_store_along() {
    let mut toms = Device::new("Tom's laptop", 3);
    toms.sign_in(&Hub::new());
    let own = toms.store.feeds().unwrap().len();
    toms.store.grant(&granted(1, "workouts")).unwrap();
    toms.store.grant(&granted(2, "meals")).unwrap();
    assert_eq!(toms.store.feeds().unwrap().len(), own + 2);
    assert_eq!(toms.store.own_feeds().unwrap().len(), own, "they are not among his own");

    let ended = toms.store.revoke(FeedId(1), MORNING).unwrap().unwrap();
    assert_eq!((ended.name.as_str(), ended.collection.as_str(), ended.unsent), ("Ann", "workouts", 0));
    assert_eq!(toms.store.revoke(FeedId(1), MORNING).unwrap(), None, "twice is no error");
    assert_eq!(toms.store.others().unwrap()[0].feeds.len(), 1);
    assert_ne!(files_of_others(&toms), 0);
    toms.store.revoke(FeedId(2), MORNING).unwrap().unwrap();
    assert_eq!(toms.store.others().unwrap(), []);
    assert_eq!(files_of_others(&toms), 0);
}

/// A crash between the removal and the row that names what was removed: Ann stayed in the list of clients for ever,
/// because the next Hello no longer named her feed and so nobody said again that it had ended.
#[test]
fn a_removal_that_a_crash_interrupted_is_finished_at_the_next_hello() {
    let mut toms = Device::new("Tom's laptop", 4);
    toms.sign_in(&Hub::new());
    let own = toms.store.feeds().unwrap().len();
    toms.store.grant(&granted(1, "workouts")).unwrap();
    let folder = toms.store.path().parent().unwrap().to_owned();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().contains("-of-") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    assert_eq!(toms.store.feeds().unwrap().len(), own);
    assert_eq!(toms.store.others().unwrap(), []);
    assert_eq!(files_of_others(&toms), 0);
}

/// Tom plans a workout for Ann, which is under way when she ends what she shares.
fn under_way(toms: &mut Device) -> (i64, fitme_core::id::EntryId) {
    toms.sign_in(&Hub::new());
    toms.store.grant(&FeedGranted { access: Access::Write, ..granted(1, "workouts") }).unwrap();
    let plan =
        Command::Create { collection: "workouts".to_owned(), fields: json!({ "start": MORNING, "title": "Leg day" }) };
    toms.store.write_for(ANN, &plan, MORNING, &mut toms.rng).unwrap();
    let (owner, batch) = toms.store.next_batch_for_others(&Default::default(), 10, usize::MAX).unwrap().unwrap();
    assert_eq!(owner, ANN);
    (batch.entries[0], batch.feeds[0].entries[0].id())
}

fn codes(store: &mut Store) -> Vec<String> {
    store
        .all_rejected()
        .unwrap()
        .into_iter()
        .filter_map(|one| Some(format!("{}: {}", one.of?, one.write.code)))
        .collect()
}

#[test]
fn what_was_under_way_when_it_ended_is_kept_until_the_server_says_what_became_of_it() {
    let refused = Receipt::Rejected(Refusal { code: "document_full".to_owned(), message: "It is full.".to_owned() });
    for (receipt, left) in [
        (Receipt::Accepted(7), vec![]),
        (refused, vec!["Ann: document_full".to_owned()]),
        (
            Receipt::Retry(Refusal { code: "unavailable".to_owned(), message: String::new() }),
            vec!["Ann: not_your_feed".to_owned()],
        ),
    ] {
        let mut toms = Device::new("Tom's laptop", 5);
        let entry = under_way(&mut toms);
        let ended = toms.store.revoke(FeedId(1), MORNING).unwrap().unwrap();
        assert_eq!(ended.unsent, 1);
        assert_eq!(codes(&mut toms.store), ["Ann: not_your_feed"]);
        assert_eq!(toms.store.take_receipts_for(ANN, &[entry], &[receipt], MORNING, &mut toms.rng).unwrap(), 0);
        assert_eq!(codes(&mut toms.store), left);
        assert_eq!(files_of_others(&toms), 0, "a late receipt makes no new store");
        assert_eq!(toms.store.unsent_for_others().unwrap(), left.len() as u64);
    }
}

/// She shares again before the receipt comes: his next workout has the number that the other one had.
#[test]
fn a_late_receipt_is_for_the_entry_that_it_names_alone() {
    let mut toms = Device::new("Tom's laptop", 6);
    let entry = under_way(&mut toms);
    toms.store.revoke(FeedId(1), MORNING).unwrap();
    let (n, id) = under_way(&mut toms);
    assert!(n == entry.0 && id != entry.1);
    toms.store.take_receipts_for(ANN, &[entry], &[Receipt::Accepted(7)], MORNING, &mut toms.rng).unwrap();
    assert_eq!(codes(&mut toms.store), [] as [String; 0]);
    assert!(toms.store.has_pending().unwrap(), "the new one waits as before");
}

/// What was kept of a feed that is gone lies in a table that the recovery of a spoilt home did not know.
#[test]
fn what_is_kept_is_still_there_when_a_spoilt_home_was_replaced() {
    let mut toms = Device::new("Tom's laptop", 8);
    under_way(&mut toms);
    toms.store.revoke(FeedId(1), MORNING).unwrap();
    let before = toms.store.all_rejected().unwrap();
    assert_eq!(before.len(), 1);
    Store::salvage(&toms.path(), "test", MORNING, &mut toms.rng).unwrap();
    toms.restart();
    assert_eq!(toms.store.all_rejected().unwrap(), before);
}

#[test]
fn what_is_kept_goes_to_the_last_byte_when_it_is_discarded() {
    let mut toms = Device::new("Tom's laptop", 7);
    under_way(&mut toms);
    toms.store.revoke(FeedId(1), MORNING).unwrap();
    toms.restart();
    let refused = toms.store.all_rejected().unwrap().remove(0);
    let command = &refused.write.command;
    assert_eq!(command["fields"]["title"], "Leg day", "{command}");
    assert!(!toms.files_with("Leg day").is_empty());
    assert!(toms.store.discard_rejected(refused.key).unwrap());
    assert_eq!(toms.files_with("Leg day"), [] as [std::path::PathBuf; 0]);
}
