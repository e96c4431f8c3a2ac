//! Traces reach a collector, as children of the caller's span, and a missing collector does not hold the server up.

use std::time::{Duration, Instant};

use fitme_testing::{Postgres, ServerProcess};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::client::get;

/// Looks for what it expects in the bytes as they come: gRPC sends protobuf, and that holds names and ids as they are.
async fn collect_until(listener: TcpListener, wanted: &[&[u8]]) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !wanted.iter().all(|part| seen.windows(part.len()).any(|window| window == *part)) {
        let n = socket.read(&mut buffer).await.unwrap();
        assert_ne!(n, 0, "the server hung up before its spans had come");
        seen.extend_from_slice(&buffer[..n]);
    }
}

#[tokio::test]
async fn the_span_of_a_request_reaches_the_collector_with_its_callers_trace() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let database = Postgres::shared().database();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let server = ServerProcess::start_with(Some(&database.url), &environment);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let trace_bytes = u128::from_str_radix(trace, 16).unwrap().to_be_bytes();

    let wanted: [&[u8]; 3] = [b"fitme-sync-server", b"GET /healthz", &trace_bytes];
    let request = reqwest::Client::new().get(format!("{}/healthz", server.url()));
    let answer = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    tokio::time::timeout(Duration::from_secs(60), collect_until(collector, &wanted)).await.unwrap();
}

#[tokio::test]
async fn a_missing_collector_does_not_hold_up_the_end() {
    let database = Postgres::shared().database();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let mut server = ServerProcess::start_with(Some(&database.url), &environment);
    get(server.url(), "/healthz").await;
    let started = Instant::now();
    assert!(server.terminate().success());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}
