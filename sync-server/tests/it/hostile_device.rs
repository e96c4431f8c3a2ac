//! What a broken or hostile device sends. Each time: a typed end, and the server and everybody else go on.

use std::time::Duration;

use fitme_core::id::FeedId;
use fitme_core::limits;
use fitme_core::wire::{self, Frame, Hello, Reason, Receipt};
use fitme_testing::{Postgres, ServerProcess, state_on};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::Value;
use sync_server::clock::Clock;
use sync_server::db;
use sync_server::devices::Allowance;
use sync_server::http::router;
use sync_server::master_key::MasterKey;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::client::sign_up;
use crate::rogue::Rogue;

fn prost_varint(mut value: usize, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Signs up and makes sure at the end that an honest device still syncs.
async fn stage(email: &str) -> (ServerProcess, Value) {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let signed_up = sign_up(server.url(), email, "rogue").await.body;
    (server, signed_up)
}

async fn assert_still_serves(server: &ServerProcess) {
    let honest = sign_up(server.url(), "honest@example.org", "phone").await.body;
    let mut device = Rogue::connect(server, &honest).await;
    device.say(&Frame::Hello(device.hello())).await;
    let Some(Frame::Welcome(welcome)) = device.hear().await else { panic!("no Welcome") };
    assert!(!welcome.more);
}

#[tokio::test]
async fn garbage_ends_the_session_with_bad_frame() {
    let (server, signed_up) = stage("garbage@example.org").await;
    let mut rng = StdRng::seed_from_u64(4);
    for length in [0, 1, 2, 17, 500, 40_000] {
        let mut rogue = Rogue::connect(&server, &signed_up).await;
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        if let Some(codec) = bytes.first_mut() {
            *codec = rng.random_range(0..=3);
        }
        rogue.send(bytes).await;
        // Bytes that happen to be a frame of an unknown kind are skipped; then what comes next is out of turn.
        rogue.say(&Frame::Credit { bytes: 1 }).await;
        rogue.expect_goodbye("bad_frame").await;
    }
    assert_still_serves(&server).await;
}

#[tokio::test]
async fn a_frame_of_a_kind_from_the_future_is_skipped() {
    let (server, signed_up) = stage("future@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    // Codec 0, then field 200 of Frame, length-delimited, three bytes.
    rogue.send(vec![0, 0xc2, 0x0c, 3, 1, 2, 3]).await;
    rogue.say(&Frame::Hello(rogue.hello())).await;
    assert!(matches!(rogue.hear().await, Some(Frame::Welcome(_))));
}

/// Whatever the frames are: here of a kind from the future, which cost the least.
#[tokio::test]
async fn a_device_that_sends_without_end_is_sent_away_for_a_while() {
    let (server, signed_up) = stage("flood@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    // What it may send at once, what becomes free again meanwhile, and more.
    for _ in 0..4 * limits::DEVICE_FRAMES_BURST {
        rogue.send(vec![0, 0xc2, 0x0c, 3, 1, 2, 3]).await;
    }
    let last = rogue.expect_goodbye("too_fast").await;
    assert!(last.retry_after_ms > 0);
    assert_still_serves(&server).await;
}

/// The same frames in one-shot exchanges, at a server that takes two of them.
#[tokio::test]
async fn a_device_that_exchanges_without_end_is_sent_away_for_a_while() {
    let database = Postgres::shared().database();
    let pool = db::connect(database.url.parse().unwrap()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut state = state_on(pool, MasterKey::random(), Clock::default(), data.path()).await;
    state.limits.device = Allowance { frame_every: Duration::from_secs(3_600), burst: 2, ..Allowance::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(state)).into_future());
    let signed_up = sign_up(&url, "exchanges@example.org", "rogue").await.body;
    let exchange = async || {
        let request = reqwest::Client::new().post(format!("{url}/v1/sync/once"));
        let request = request.bearer_auth(signed_up["access_token"].as_str().unwrap());
        let answer = request.body(vec![0, 0, 0, 7, 0, 0xc2, 0x0c, 3, 1, 2, 3]).send().await.unwrap();
        wire::decode(&answer.bytes().await.unwrap()[4..]).unwrap()
    };
    for _ in 0..2 {
        assert!(matches!(exchange().await, Some(Frame::More(_))));
    }
    let Some(Frame::Goodbye(last)) = exchange().await else { panic!("no Goodbye") };
    assert_eq!((last.reason, last.retry_after_ms > 0), (Reason::TooFast, true));
}

/// A phone that loses its network again and again leaves sockets behind; it is never locked out by them.
#[tokio::test]
async fn the_oldest_socket_of_a_device_makes_room_for_the_newest() {
    let (server, signed_up) = stage("sockets@example.org").await;
    let mut rogues = Vec::new();
    for _ in 0..limits::DEVICE_SOCKETS {
        let mut rogue = Rogue::connect(&server, &signed_up).await;
        rogue.say(&Frame::Hello(rogue.hello())).await;
        assert!(matches!(rogue.hear().await, Some(Frame::Welcome(_))));
        rogues.push(rogue);
    }
    let _newest = Rogue::connect(&server, &signed_up).await;
    let last = rogues[0].expect_goodbye("displaced").await;
    assert!(last.retry_after_ms > 0);
    let second = &mut rogues[1];
    let entries = vec![fitme_testing::entries::mood(1, 1)];
    second.say(&Frame::Push { batch: 1, feeds: vec![wire::FeedPush { feed: second.feed("moods"), entries }] }).await;
    assert!(matches!(second.hear().await, Some(Frame::Receipts { .. })), "the others live on");
}

#[tokio::test]
async fn a_zstd_bomb_costs_its_bound_and_ends_the_session() {
    let (server, signed_up) = stage("bomb@example.org").await;
    let mut bomb = vec![1];
    bomb.extend(zstd::bulk::compress(&vec![0; 600 << 20], 1).unwrap());
    assert!(bomb.len() < limits::FRAME_BYTES, "{} bytes", bomb.len());
    // Four million empty entries in eight hundred bytes: Frame.push.feeds.entries.
    let field = |key: u8, body: &[u8]| {
        let mut bytes = vec![key];
        prost_varint(body.len(), &mut bytes);
        bytes.extend_from_slice(body);
        bytes
    };
    let crowd = field(0x2a, &field(0x12, &[0x1a, 0x00].repeat(4_000_000)));
    let mut crowd_packed = vec![1];
    crowd_packed.extend(zstd::bulk::compress(&crowd, 1).unwrap());
    for bomb in [bomb, crowd_packed] {
        let mut rogue = Rogue::connect(&server, &signed_up).await;
        rogue.send(bomb).await;
        rogue.expect_goodbye("bad_frame").await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 120 << 10, "the bomb made the server use {kib} KiB");
    assert_still_serves(&server).await;
}

#[tokio::test]
async fn a_message_above_the_frame_limit_is_not_even_read() {
    let (server, signed_up) = stage("large@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    rogue.send(vec![0; limits::FRAME_BYTES + 1]).await;
    assert!(!matches!(rogue.hear().await, Some(Frame::Welcome(_))));
    assert_still_serves(&server).await;
}

#[tokio::test]
async fn a_device_that_speaks_another_version_is_told_to_upgrade() {
    let (server, signed_up) = stage("version@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    rogue.say(&Frame::Hello(Hello { major: 99, ..rogue.hello() })).await;
    let last = rogue.expect_goodbye("upgrade").await;
    assert_eq!(last.reason, Reason::Upgrade);
}

#[tokio::test]
async fn a_push_before_hello_and_a_second_hello_are_out_of_turn() {
    let (server, signed_up) = stage("turn@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    rogue.say(&Frame::Push { batch: 1, feeds: Vec::new() }).await;
    rogue.expect_goodbye("bad_frame").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    rogue.say(&Frame::Hello(rogue.hello())).await;
    rogue.say(&Frame::Hello(rogue.hello())).await;
    rogue.expect_goodbye("bad_frame").await;
}

/// Few bytes can hold many operations: their sum is counted before anything is decoded.
#[tokio::test]
async fn a_push_of_more_operations_than_allowed_ends_the_session() {
    let (server, signed_up) = stage("operations@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    rogue.say(&Frame::Hello(rogue.hello())).await;
    assert!(matches!(rogue.hear().await, Some(Frame::Welcome(_))));
    let entries: Vec<_> = (0..4).map(|n| fitme_testing::entries::mood_with_note(n, 60_000)).collect();
    rogue.say(&Frame::Push { batch: 1, feeds: vec![wire::FeedPush { feed: rogue.feed("moods"), entries }] }).await;
    rogue.expect_goodbye("bad_frame").await;
    assert_still_serves(&server).await;
}

/// Entries of every bad sort in one push: each gets its own verdict, and the good one among them is accepted.
#[tokio::test]
async fn bad_entries_are_refused_one_by_one() {
    let (server, signed_up) = stage("entries@example.org").await;
    let mut rogue = Rogue::connect(&server, &signed_up).await;
    rogue.say(&Frame::Hello(rogue.hello())).await;
    assert!(matches!(rogue.hear().await, Some(Frame::Welcome(_))));
    let good = fitme_testing::entries::mood(1, 1);
    let mut flipped = fitme_testing::entries::mood(2, 1);
    let last = flipped.payload.len() - 1;
    flipped.payload[last] ^= 0xff;
    let mut unknown_kind = fitme_testing::entries::mood(3, 1);
    unknown_kind.kind = 77;
    let garbage = fitme_core::entry::Entry { payload: vec![7; 300], ..fitme_testing::entries::mood(4, 1) };
    let headless = fitme_testing::entries::edit_of_nothing(5);
    let moods = rogue.feed("moods");
    let feeds = vec![
        wire::FeedPush { feed: moods, entries: vec![good, flipped, unknown_kind, garbage, headless] },
        wire::FeedPush { feed: FeedId(1), entries: vec![fitme_testing::entries::mood(6, 1)] },
        wire::FeedPush { feed: rogue.feed("sleep"), entries: vec![fitme_testing::entries::mood(7, 1)] },
    ];
    rogue.say(&Frame::Push { batch: 9, feeds }).await;
    let Some(Frame::Receipts { batch: 9, receipts }) = rogue.hear().await else { panic!("no receipts") };
    let codes: Vec<_> = receipts
        .iter()
        .map(|receipt| match receipt {
            Receipt::Accepted(seq) => format!("accepted {seq}"),
            Receipt::Rejected(why) => why.code.clone(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        codes,
        [
            "accepted 1",
            "bad_change",
            "kind_not_served",
            "bad_change",
            "unknown_dependency",
            "not_your_feed",
            "collection_not_served"
        ]
    );
    assert_still_serves(&server).await;
}

#[tokio::test]
async fn an_unknown_token_is_refused_before_the_upgrade() {
    let (server, _) = stage("token@example.org").await;
    let url = server.url().replace("http://", "ws://") + "/v1/sync";
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", "Bearer nonsense".parse().unwrap());
    let Err(Error::Http(answer)) = tokio_tungstenite::connect_async(request).await else { panic!("it was let in") };
    assert_eq!(answer.status().as_u16(), 401);
    let body: Value = serde_json::from_slice(answer.body().as_deref().unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "unauthenticated");
}

#[tokio::test]
async fn a_one_shot_body_that_is_no_sequence_of_frames_is_a_bad_request() {
    let (server, signed_up) = stage("once@example.org").await;
    let token = signed_up["access_token"].as_str().unwrap();
    for body in [vec![], vec![0, 0, 0], vec![0, 0, 0, 200, 1, 2], vec![0xff; 64]] {
        let request = reqwest::Client::new().post(format!("{}/v1/sync/once", server.url()));
        let answer = crate::client::Answer::of(request.bearer_auth(token).body(body).send().await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_request"));
    }
    let request = reqwest::Client::new().post(format!("{}/v1/sync/once", server.url()));
    let huge = request.bearer_auth(token).body(vec![0; 2 * limits::FRAME_BYTES]).send().await.unwrap();
    assert_eq!(crate::client::Answer::of(huge).await.code(), "payload_too_large");
}

/// A session that reads nothing must not make the server remember what it would have sent.
#[tokio::test]
async fn a_device_that_does_not_read_is_only_remembered_by_its_cursors() {
    let (server, signed_up) = stage("slow@example.org").await;
    let mut lazy = Rogue::connect(&server, &signed_up).await;
    lazy.say(&Frame::Hello(lazy.hello())).await;
    let mut busy = Rogue::connect(&server, &signed_up).await;
    busy.say(&Frame::Hello(busy.hello())).await;
    let feed = busy.feed("moods");
    for batch in 0..25u64 {
        let entries: Vec<_> = (0..40).map(|n| fitme_testing::entries::large_mood(batch * 40 + n, 8)).collect();
        busy.say(&Frame::Push { batch, feeds: vec![wire::FeedPush { feed, entries }] }).await;
        while !matches!(busy.hear().await, Some(Frame::Receipts { .. })) {}
    }
    // It wakes up: everything is there, in order, although nothing was kept for it.
    let mut seen = 0;
    while seen < 1_000 {
        match lazy.hear().await.expect("the session lives") {
            Frame::Entries(pages) => {
                for page in pages {
                    assert_eq!(page.first_seq, seen + 1, "in order and without a gap");
                    let bytes = page.items.iter().map(|item| match item {
                        wire::Item::Full(entry) => entry.payload.len() as u64,
                        wire::Item::Own(_) | wire::Item::Emptied(_) => 0,
                    });
                    let bytes = bytes.sum();
                    seen += page.items.len() as u64;
                    lazy.say(&Frame::Credit { bytes }).await;
                }
            }
            Frame::Welcome(_) | Frame::More(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_says_so_to_its_sessions() {
    let (mut server, signed_up) = stage("stop@example.org").await;
    let mut device = Rogue::connect(&server, &signed_up).await;
    device.say(&Frame::Hello(device.hello())).await;
    assert!(matches!(device.hear().await, Some(Frame::Welcome(_))));
    let stopped = tokio::task::spawn_blocking(move || server.terminate());
    let last = device.expect_goodbye("shutdown").await;
    assert!(last.retry_after_ms > 0);
    assert!(stopped.await.unwrap().success());
}

#[tokio::test]
async fn sessions_end_when_the_database_goes_away_and_nothing_is_lost() {
    let mut postgres = Postgres::start();
    let server = ServerProcess::on(&postgres.database().url);
    let signed_up = sign_up(server.url(), "away@example.org", "phone").await.body;
    let mut device = Rogue::connect(&server, &signed_up).await;
    device.say(&Frame::Hello(device.hello())).await;
    assert!(matches!(device.hear().await, Some(Frame::Welcome(_))));
    let push = |batch| {
        let entries = vec![fitme_testing::entries::mood(batch, 1)];
        Frame::Push { batch, feeds: vec![wire::FeedPush { feed: device.feed("moods"), entries }] }
    };
    let (first, second) = (push(1), push(2));
    device.say(&first).await;
    assert!(matches!(device.hear().await, Some(Frame::Receipts { batch: 1, .. })));
    postgres.take_down();
    device.say(&second).await;
    device.expect_goodbye("session_unavailable").await;
    postgres.bring_back();

    let mut again = Rogue::connect(&server, &signed_up).await;
    again.say(&Frame::Hello(again.hello())).await;
    let Some(Frame::Welcome(welcome)) = again.hear().await else { panic!("no Welcome") };
    assert!(welcome.more, "what was acknowledged before is there");
}
