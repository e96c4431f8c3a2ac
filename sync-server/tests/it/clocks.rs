//! Devices whose clocks are wrong: nothing is refused for its time, and what they pushed tells by how much they were.

use fitme_core::wire::{FeedPush, Frame, Hello, Receipt};
use fitme_testing::{Postgres, ServerProcess, entries};
use sqlx::{Connection, PgConnection};
use sync_server::clock::Clock;

use crate::client::sign_up;
use crate::rogue::Rogue;

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1_000;
/// The clock of a device is compared by whole messages, on a computer that may be busy.
const NEARLY_MS: u64 = 60_000;

/// One entry of a device whose clock is ten years behind, and one of an app that does not say what its clock is.
#[tokio::test]
async fn an_entry_keeps_its_devices_time_the_offset_of_its_clock_and_the_servers_time() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let signed_up = sign_up(server.url(), "ann@example.org", "phone").await.body;
    let now_ms = Clock::default().now_ms();
    for (seed, clock_ms) in [(1, now_ms - TEN_YEARS_MS), (2, 0)] {
        let mut phone = Rogue::connect(&server, &signed_up).await;
        phone.say(&Frame::Hello(Hello { clock_ms, ..phone.hello() })).await;
        let Some(Frame::Welcome(_)) = phone.hear().await else { panic!("no Welcome") };
        let mut mood = entries::mood(seed, 1);
        mood.device_time = now_ms - TEN_YEARS_MS;
        let feeds = vec![FeedPush { feed: phone.feed("moods"), entries: vec![mood] }];
        phone.say(&Frame::Push { batch: 1, feeds }).await;
        let receipts = loop {
            match phone.hear().await {
                Some(Frame::Receipts { receipts, .. }) => break receipts,
                Some(_) => {}
                None => panic!("no receipts"),
            }
        };
        assert!(matches!(receipts[..], [Receipt::Accepted(_)]), "{receipts:?}");
    }

    let mut owner = PgConnection::connect(&database.owner).await.unwrap();
    let query = "SELECT device_time, clock_offset_ms, (extract(epoch FROM received_at) * 1000)::bigint
                 FROM entries JOIN feeds USING (feed) WHERE collection = 'moods' ORDER BY seq";
    let kept: Vec<(i64, Option<i64>, i64)> = sqlx::query_as(query).fetch_all(&mut owner).await.unwrap();
    let [(device_time, Some(offset_ms), received_at), (_, None, _)] = kept[..] else { panic!("{kept:?}") };
    assert_eq!(device_time, now_ms - TEN_YEARS_MS, "what the device says is not changed");
    assert!(offset_ms.abs_diff(TEN_YEARS_MS) < NEARLY_MS, "{offset_ms}");
    assert!(received_at.abs_diff(device_time + offset_ms) < NEARLY_MS, "it was written when it was pushed");
}
