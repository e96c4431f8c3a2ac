//! PostgreSQL goes away and comes back; the server stays and says so.

use fitme_testing::{Postgres, ServerProcess};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{get, log_in, sign_up, until};

#[tokio::test]
async fn while_the_database_is_away_requests_are_told_so_and_later_they_work() {
    let mut postgres = Postgres::start();
    let server = ServerProcess::on(&postgres.database().url);
    sign_up(server.url(), "ana@example.org", "phone").await;
    assert_eq!(get(server.url(), "/readyz").await.status, 200);

    for outage in [Postgres::take_down, Postgres::kill9] {
        outage(&mut postgres);
        let refused = log_in(server.url(), "ana@example.org", "phone").await;
        assert_eq!((refused.status.as_u16(), refused.code()), (503, "unavailable"));
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
        assert_eq!(get(server.url(), "/readyz").await.code(), "unavailable");
        assert_eq!(get(server.url(), "/healthz").await.status, 200, "the process lives");

        postgres.bring_back();
        until("the database is found again", async || get(server.url(), "/readyz").await.status == 200).await;
        assert_eq!(log_in(server.url(), "ana@example.org", "phone").await.status, 200);
    }
}

#[tokio::test]
async fn a_private_database_that_dies_is_started_again() {
    let server = ServerProcess::start();
    sign_up(server.url(), "ana@example.org", "phone").await;
    let file = std::fs::read_to_string(server.data().join("postgres/postmaster.pid")).unwrap();
    let postgres: i32 = file.lines().next().unwrap().trim().parse().unwrap();

    kill(Pid::from_raw(postgres), Signal::SIGKILL).unwrap();

    until("the database runs again", async || {
        let again = std::fs::read_to_string(server.data().join("postgres/postmaster.pid")).unwrap_or_default();
        again.contains("ready") && !again.starts_with(&postgres.to_string())
    })
    .await;
    until("it is used again", async || log_in(server.url(), "ana@example.org", "phone").await.status == 200).await;
}
