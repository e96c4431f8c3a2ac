//! What a session does when others begin or end to share, in whatever order the news comes.

use std::sync::Arc;

use fitme_core::entry::Digest;
use fitme_core::id::{Epoch, FeedId, Installation};
use fitme_core::policy::Access;
use fitme_core::session::{
    Account, AccountFeed, Grants, LiveEntries, Mode, Page, ServerEffect, ServerEvent, ServerSession, SnapshotsAsked,
    SnapshotsRead, summary,
};
use fitme_core::wire::{self, Cursors, Frame, Hello};

const TOM: [u8; 16] = [1; 16];
const ANN: [u8; 16] = [2; 16];
const OWN: FeedId = FeedId(10);
const ANNS: FeedId = FeedId(20);

fn feed(feed: FeedId, owner: [u8; 16], head: u64) -> AccountFeed {
    AccountFeed {
        feed,
        owner,
        owner_name: "".into(),
        access: Access::Read,
        collection: "workouts".into(),
        scope: "".into(),
        epoch: Epoch([3; 8]),
        head,
        head_digest: Digest::default(),
        merged: head,
        folded: head,
        digest_at_cursor: Some(Digest::default()),
    }
}

fn account(others: &[AccountFeed], grants_version: u64) -> Account {
    Account {
        installation: Installation([4; 8]),
        account: TOM,
        clock_ms: 0,
        feeds: [&[feed(OWN, TOM, 0)], others].concat(),
        grants_version,
        actors: Vec::new(),
    }
}

/// Tom's device holds nothing of his own feed yet and does not know Ann's.
fn hello(minor: u32) -> Vec<u8> {
    let hello = Hello {
        major: wire::MAJOR,
        minor,
        summary: summary([(OWN, Epoch([3; 8]), 0, Digest::default())]),
        cursors: Some(Cursors([(OWN, 0)].into())),
        ..Hello::default()
    };
    wire::encode(&Frame::Hello(hello)).unwrap()
}

fn live(minor: u32, account: Account) -> (ServerSession, Vec<ServerEffect>) {
    let mut session = ServerSession::new(Mode::Socket);
    session.handle(ServerEvent::Message(&hello(minor)));
    let effects = session.handle(ServerEvent::Account(account));
    (session, effects)
}

fn grants(version: u64, feeds: &[AccountFeed]) -> ServerEvent<'static> {
    ServerEvent::Regranted(Arc::new(Grants { version, feeds: feeds.to_vec() }))
}

/// What the effects say about feeds of others.
fn said(effects: &[ServerEffect]) -> Vec<String> {
    let say = |effect: &ServerEffect| match effect {
        ServerEffect::Send(message) => match wire::decode(message).unwrap()? {
            Frame::FeedGranted(granted) => Some(format!("granted {}", granted.feed)),
            Frame::FeedRevoked(feed) => Some(format!("revoked {feed}")),
            _ => None,
        },
        ServerEffect::SendOfOther(feed, _) => Some(format!("entries {feed}")),
        ServerEffect::ReadSnapshots { asked, others, .. } => {
            Some(format!("read snapshots of {}{}", asked[0].feed, if *others { " judged" } else { "" }))
        }
        ServerEffect::Read { feed, others, .. } => Some(format!("read {feed}{}", if *others { " judged" } else { "" })),
        _ => None,
    };
    effects.iter().filter_map(say).collect()
}

#[test]
fn a_feed_of_somebody_else_is_announced_and_each_page_of_it_is_judged() {
    let (_, effects) = live(1, account(&[feed(ANNS, ANN, 5)], 1));
    assert_eq!(said(&effects), ["granted 20", "read 20 judged"]);
}

#[test]
fn a_device_that_does_not_know_feeds_of_others_hears_nothing_of_them() {
    let (mut session, effects) = live(0, account(&[feed(ANNS, ANN, 5)], 1));
    assert_eq!(said(&effects), Vec::<String>::new());
    assert_eq!(said(&session.handle(grants(2, &[feed(ANNS, ANN, 5)]))), Vec::<String>::new());
}

#[test]
fn what_begins_while_the_session_is_live_is_read_from_its_first_entry_even_if_it_seems_empty() {
    let (mut session, _) = live(1, account(&[], 1));
    let effects = session.handle(grants(2, &[feed(ANNS, ANN, 0)]));
    assert_eq!(said(&effects), ["granted 20", "read 20 judged"]);
    assert_eq!(said(&session.handle(grants(2, &[feed(ANNS, ANN, 0)]))), Vec::<String>::new(), "twice is once");
}

#[test]
fn what_ends_is_said_once_and_nothing_of_it_is_asked_for_any_more() {
    let (mut session, _) = live(1, account(&[feed(ANNS, ANN, 0)], 1));
    assert_eq!(said(&session.handle(grants(2, &[]))), ["revoked 20"]);
    assert_eq!(said(&session.handle(ServerEvent::Head(ANNS, 9))), Vec::<String>::new());
    assert_eq!(said(&session.handle(grants(2, &[]))), Vec::<String>::new());
}

/// Readings of grants and of accounts can cross on the way.
#[test]
fn an_older_reading_changes_nothing() {
    let (mut session, _) = live(1, account(&[feed(ANNS, ANN, 0)], 5));
    assert_eq!(said(&session.handle(grants(4, &[]))), Vec::<String>::new());
    assert_eq!(said(&session.handle(grants(5, &[]))), ["revoked 20"], "a time was over, which changes no version");
}

/// Entries from memory went out before the session had heard of the revocation that was committed with them.
#[test]
fn entries_of_others_never_go_out_from_memory() {
    let (mut session, _) = live(1, account(&[feed(ANNS, ANN, 0)], 1));
    let effects = session.handle(ServerEvent::Live(LiveEntries { feed: ANNS, first_seq: 1, entries: &[received()] }));
    assert_eq!(said(&effects), ["read 20 judged"]);
    let page = Page { feed: ANNS, after: 0, entries: vec![received()], head: 1 };
    assert_eq!(said(&session.handle(ServerEvent::Page(page))), ["entries 20"]);
}

/// A page that was asked for and denied must not keep the session from asking for others.
#[test]
fn a_denied_page_revokes_the_feed_and_the_session_goes_on() {
    let (mut session, effects) = live(1, account(&[feed(ANNS, ANN, 5)], 1));
    assert_eq!(said(&effects), ["granted 20", "read 20 judged"]);
    let denied = ServerEvent::Denied(Arc::new(Grants { version: 2, feeds: Vec::new() }));
    assert_eq!(said(&session.handle(denied)), ["revoked 20"]);
    assert_eq!(said(&session.handle(ServerEvent::Head(OWN, 3))), ["read 10"]);
}

/// Snapshots of somebody else's feed are judged like its entries: a grant that ends between two pages ends them at once.
#[test]
fn a_grant_that_ends_between_two_pages_of_snapshots_ends_them() {
    let (mut session, effects) = live(wire::MINOR, account(&[feed(ANNS, ANN, 500)], 1));
    assert_eq!(said(&effects), ["granted 20", "read snapshots of 20 judged"]);
    let asked = effects.iter().find_map(|effect| match effect {
        ServerEffect::ReadSnapshots { asked, .. } => Some(asked[0]),
        _ => None,
    });
    let SnapshotsAsked { place, .. } = asked.unwrap();
    let digest = Some(Digest::default());
    let (documents, erasures) = (Vec::new(), Vec::new());
    let read = SnapshotsRead { feed: ANNS, place, digest, total: 0, documents, erasures, exhausted: true };
    let effects = session.handle(ServerEvent::Snapshots(vec![read]));
    assert_eq!(said(&effects), ["entries 20", "read snapshots of 20 judged"]);
    let denied = ServerEvent::Denied(Arc::new(Grants { version: 2, feeds: Vec::new() }));
    assert_eq!(said(&session.handle(denied)), ["revoked 20"]);
    assert_eq!(said(&session.handle(ServerEvent::Head(ANNS, 600))), Vec::<String>::new());
}

fn received() -> fitme_core::session::Received {
    let doc_id = fitme_core::id::DocId([9; 16]);
    let entry = fitme_core::entry::Entry { kind: 0, doc_id, device_time: 0, salt: [1; 8], payload: vec![1, 2, 3] };
    fitme_core::session::Received::whole(entry)
}
