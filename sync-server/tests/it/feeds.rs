//! What sessions read of feeds.

use std::time::Duration;

use fitme_core::collection::Collection;
use fitme_core::entry::{Digest, Entry};
use fitme_core::id::{ActorId, FeedId};
use fitme_core::wire::Cursors;
use fitme_testing::Postgres;
use sync_server::feeds::{Asked, changed_since, load_account, read_page, renew_epochs};

use crate::phones::Node;

async fn node() -> Node {
    let node = Node::on(&Postgres::shared().database()).await;
    sync_server::db::installation::establish(&node.server).await.unwrap();
    node
}

#[tokio::test]
async fn an_account_is_read_with_the_digests_at_the_devices_cursors() {
    let node = node().await;
    let (ana, ben) = (node.person().await, node.person().await);
    let mut phone = node.phone(&ana, 1).await;
    let (moods, meals) = (ana.feed(Collection::Moods), ana.feed(Collection::Meals));
    let entries: Vec<_> = (0..3).map(|_| phone.log_mood(1).1).collect();
    let ids: Vec<_> = entries.iter().map(Entry::id).collect();
    node.push(phone.device, moods, entries).await;
    let sum = |n: usize| ids[..n].iter().fold(Digest::default(), |digest, id| digest.plus(*id));

    let feed = async |at: u64| {
        let cursors = Cursors([(moods, at), (meals, 0)].into());
        let account = load_account(&node.server, ana.account, &cursors, &[], None).await.unwrap();
        let numbers: Vec<_> = account.feeds.iter().map(|feed| feed.feed).collect();
        assert!(numbers.is_sorted() && numbers.len() == 14, "{numbers:?}");
        assert!(!numbers.contains(&ben.feed(Collection::Moods)));
        let found = |wanted: FeedId| account.feeds.iter().find(|feed| feed.feed == wanted).unwrap().clone();
        assert_eq!(found(meals).digest_at_cursor, Some(Digest::default()), "before the first entry");
        assert_eq!(found(ana.feed(Collection::Sleep)).digest_at_cursor, None, "not asked");
        found(moods)
    };
    let at_two = feed(2).await;
    assert_eq!((at_two.head, at_two.head_digest, at_two.merged), (3, sum(3), 0));
    assert_eq!(at_two.digest_at_cursor, Some(sum(2)));
    assert_eq!(feed(3).await.digest_at_cursor, Some(sum(3)));
    assert_eq!(feed(4).await.digest_at_cursor, None, "beyond the head");
}

#[tokio::test]
async fn the_last_accepted_entry_of_an_actor_is_told_to_its_own_account_only() {
    let node = node().await;
    let (ana, ben) = (node.person().await, node.person().await);
    let mut phone = node.phone(&ana, 1).await;
    let entries: Vec<_> = (0..2).map(|_| phone.log_mood(1).1).collect();
    let last = entries[1].id();
    node.push(phone.device, ana.feed(Collection::Moods), entries).await;
    let actors = [phone.actor, ActorId([9; 16])];
    let tips =
        async |account| load_account(&node.server, account, &Cursors::default(), &actors, None).await.unwrap().actors;
    assert_eq!(tips(ana.account).await, [(phone.actor, last)]);
    assert_eq!(tips(ben.account).await, []);
}

#[tokio::test]
async fn pages_are_cut_by_bytes_and_by_entries_and_together_are_the_feed() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let entries: Vec<_> = (0..20).map(|_| phone.log_mood(1).1).collect();
    node.push(phone.device, moods, entries.clone()).await;
    let bytes = entries[0].payload.len();
    for (max_bytes, max_entries) in [(1, 100), (3 * bytes, 100), (usize::MAX >> 1, 7), (usize::MAX >> 1, 100)] {
        let mut read = Vec::new();
        loop {
            let asked = Asked { feed: moods, after: read.len() as u64, max_bytes, max_entries };
            let page = read_page(&node.server, ana.account, asked).await.unwrap();
            assert_eq!((page.after, page.head), (read.len() as u64, 20));
            if page.entries.is_empty() {
                break;
            }
            let before_last: usize = page.entries.iter().rev().skip(1).map(|one| one.entry.payload.len()).sum();
            assert!(before_last < max_bytes && page.entries.len() <= max_entries);
            assert!(page.entries.iter().all(|one| one.id == one.entry.id()));
            read.extend(page.entries.into_iter().map(|one| one.entry));
        }
        assert_eq!(read, entries);
    }
}

#[tokio::test]
async fn a_renewed_epoch_is_the_one_that_is_read() {
    let node = node().await;
    let (ana, ben) = (node.person().await, node.person().await);
    let moods = ana.feed(Collection::Moods);
    let epochs = async || {
        let account = load_account(&node.server, ana.account, &Cursors::default(), &[], None).await.unwrap();
        account.feeds.into_iter().map(|feed| (feed.feed, feed.epoch)).collect::<Vec<_>>()
    };
    let before = epochs().await;
    let renewed = renew_epochs(&node.server, ana.account, &[moods, ben.feed(Collection::Moods)]).await.unwrap();
    assert_eq!(renewed.iter().map(|(feed, _)| *feed).collect::<Vec<_>>(), [moods], "only the account's own");
    for (old, new) in before.into_iter().zip(epochs().await) {
        assert_eq!(old == new, old.0 != moods);
        assert!(old.0 != moods || new == renewed[0]);
    }
}

#[tokio::test]
async fn the_poll_finds_what_was_appended_lately() {
    let node = node().await;
    let ana = node.person().await;
    let mut phone = node.phone(&ana, 1).await;
    let moods = ana.feed(Collection::Moods);
    let old = "UPDATE feeds SET touched_at = clock_timestamp() - interval '1 hour'";
    sqlx::query(old).execute(&node.pool).await.unwrap();
    node.push(phone.device, moods, vec![phone.log_mood(1).1, phone.log_mood(2).1]).await;
    let changed = changed_since(&mut node.pool.acquire().await.unwrap(), Duration::from_secs(600)).await.unwrap();
    let heads: Vec<_> = changed.iter().map(|feed| (feed.feed, feed.head, feed.merged)).collect();
    assert_eq!(heads, [(moods, 2, 0)]);
}
