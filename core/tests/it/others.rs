//! What others share, in the store of whoever may see it: kept apart, removed to the end, and what a crash leaves is
//! tidied up.

use fitme_core::id::{Epoch, FeedId};
use fitme_core::policy::Access;
use fitme_core::wire::FeedGranted;

use crate::hub::{Device, Hub};

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

    let ended = toms.store.revoke(FeedId(1)).unwrap().unwrap();
    assert_eq!((ended.name.as_str(), ended.collection.as_str(), ended.unsent), ("Ann", "workouts", 0));
    assert_eq!(toms.store.revoke(FeedId(1)).unwrap(), None, "twice is no error");
    assert_eq!(toms.store.others().unwrap()[0].feeds.len(), 1);
    assert_ne!(files_of_others(&toms), 0);
    toms.store.revoke(FeedId(2)).unwrap().unwrap();
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
