//! What Prometheus is told, and what it is never told.

use fitme_core::wire::{FeedPush, Frame};
use fitme_testing::{Postgres, ServerProcess, run_server};
use serde_json::Value;

use crate::client::{PASSWORD, credentials, get, post, sign_up, until};
use crate::rogue::Rogue;

fn metrics_address(server: &ServerProcess) -> String {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut served = lines.filter(|line| line["message"] == "the metrics are served");
    format!("http://{}", served.next().unwrap()["address"].as_str().unwrap())
}

#[tokio::test]
async fn sessions_entries_refusals_and_merging_are_counted_and_nobody_is_named() {
    let environment = [("FITME_METRICS_ADDR", "127.0.0.1:0")];
    let server = ServerProcess::start_with(Some(&Postgres::shared().database().url), &environment);
    let metrics = metrics_address(&server);
    let ann = sign_up(server.url(), "ann@example.org", "Ann's phone").await.body;
    for _ in 0..6 {
        post(server.url(), "/v1/login", &credentials("ann@example.org", "a guess", "x")).await;
    }
    let mut phone = Rogue::connect(&server, &ann).await;
    phone.say(&Frame::Hello(phone.hello())).await;
    assert!(matches!(phone.hear().await, Some(Frame::Welcome(_))));
    let entries = vec![
        fitme_testing::entries::mood(1, 1),
        fitme_testing::entries::mood(2, 1),
        fitme_testing::entries::edit_of_nothing(3),
    ];
    phone.say(&Frame::Push { batch: 1, feeds: vec![FeedPush { feed: phone.feed("moods"), entries }] }).await;
    while !matches!(phone.hear().await.unwrap(), Frame::Receipts { .. }) {}

    let mut text = String::new();
    until("everything is merged", async || {
        text = get(&metrics, "/metrics").await.body.as_str().unwrap().to_owned();
        text.contains("fitme_merge_waiting_entries 0\n")
    })
    .await;
    for line in [
        "fitme_sessions 1",
        "fitme_entries_total{outcome=\"accepted\"} 2",
        "fitme_entries_total{outcome=\"rejected\"} 1",
        "fitme_entries_total{outcome=\"duplicate\"} 0",
        "fitme_refusals_total{code=\"wrong_credentials\"} 5",
        "fitme_refusals_total{code=\"too_many_attempts\"} 1",
        "fitme_ingest_seconds_count 1",
        "fitme_merge_waiting_feeds 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    let id = |name: &str| ann[name].as_str().unwrap().to_owned();
    for secret in [id("account"), id("device"), "example.org".into(), "Ann".into(), "127.0.0.1".into(), PASSWORD.into()]
    {
        assert!(!text.contains(&secret), "{secret}");
    }
    assert_eq!(get(server.url(), "/metrics").await.code(), "not_found", "others do not see them");
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let environment = [("FITME_DATA", data.path().to_str().unwrap()), ("FITME_METRICS_ADDR", "0.0.0.0:0")];
    let refused = run_server(&["serve", "--listen", "127.0.0.1:0"], &environment);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("FITME_METRICS_ADDR=0.0.0.0:0"), "{}", refused.stderr);
}
