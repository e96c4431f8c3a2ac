//! Somebody guesses passwords, ten thousand a minute from one address, while other people log in: what they wait for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::measure::{Peaks, Runs, Times};
use crate::report::{Line, Report, Unit};
use crate::world::{Server, World};

/// A guess each so often is ten thousand a minute.
const GUESS_EVERY: Duration = Duration::from_millis(6);
/// Guesses under way at once; more would wait for the guesser's own cores.
const GUESSES_AT_ONCE: usize = 64;
const GUESSER: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);
/// People who log in, each from an address of his own.
const PEOPLE: u8 = 20;
/// Logins of each.
const LOGINS: usize = 10;
/// A login each so often: people come apart from each other.
const LOGIN_EVERY: Duration = Duration::from_millis(150);
const PASSWORD: &str = "correct horse battery";

/// Runs the row.
pub fn run(world: &World) -> Result<Report> {
    let (mut quiet, mut busy) = (Found::default(), Found::default());
    let mut peaks = Peaks::default();
    for _ in 0..world.repetitions {
        let server = world.server()?;
        let address = server.url().trim_start_matches("http://").parse()?;
        let people = world.runtime.block_on(people(address))?;
        quiet.note(&world.runtime.block_on(log_in(address, &people))?);
        let (logins, guesses) = world.runtime.block_on(under_guesses(address, &people))?;
        busy.note(&logins);
        busy.looked_at.push(guesses.looked_at as f64);
        busy.guesses_a_minute.push(guesses.sent as f64 * 60.0 / guesses.took.as_secs_f64());
        peaks.note("server", peak(&server)?);
    }
    Ok(Report {
        row: "guesses",
        work: format!(
            "{PEOPLE} people log in {LOGINS} times each, from addresses of their own, while one address of 127.0.0.0/8 guesses \
             passwords of other accounts; beside it the same logins without the guesser."
        ),
        lines: vec![
            Line::new("login under guesses, p50", Unit::Time, busy.p50).beside("without", quiet.p50),
            Line::new("login under guesses, p99", Unit::Time, busy.p99).beside("without", quiet.p99).ratio_at_most(2.0),
            Line::new("guesses a minute", Unit::Count, busy.guesses_a_minute),
            Line::new("guesses that were looked at", Unit::Count, busy.looked_at),
        ],
        peaks,
    })
}

#[derive(Default)]
struct Found {
    p50: Runs,
    p99: Runs,
    guesses_a_minute: Runs,
    looked_at: Runs,
}

impl Found {
    fn note(&mut self, logins: &Times) {
        self.p50.push(logins.percentile(50.0));
        self.p99.push(logins.percentile(99.0));
    }
}

fn peak(server: &Server) -> Result<f64> {
    server.watched().peak_memory()
}

/// Somebody with an account and a device, and where he is.
struct Person {
    at: Ipv4Addr,
    credentials: Value,
}

async fn people(server: SocketAddr) -> Result<Vec<Person>> {
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let at = Ipv4Addr::new(127, 1, 0, n + 1);
        let mut credentials =
            json!({ "email": format!("{n}@example.org"), "password": PASSWORD, "device_name": "phone" });
        let (status, answer) = post(server, at, "/v1/signup", &credentials).await?;
        ensure!(status == 201, "a sign-up was answered {status}");
        credentials["device"] = answer["device"].clone();
        people.push(Person { at, credentials });
    }
    Ok(people)
}

async fn log_in(server: SocketAddr, people: &[Person]) -> Result<Times> {
    let mut times = Times::default();
    let mut next = tokio::time::interval(LOGIN_EVERY);
    for _ in 0..LOGINS {
        for person in people {
            next.tick().await;
            let started = Instant::now();
            let (status, _) = post(server, person.at, "/v1/login", &person.credentials).await?;
            times.push(started.elapsed());
            ensure!(status == 200, "a login was answered {status}");
        }
    }
    Ok(times)
}

/// What became of the guesses.
struct Guesses {
    sent: usize,
    looked_at: usize,
    took: Duration,
}

async fn under_guesses(server: SocketAddr, people: &[Person]) -> Result<(Times, Guesses)> {
    let (started, mut under_way) = (Instant::now(), JoinSet::new());
    let places = Arc::new(Semaphore::new(GUESSES_AT_ONCE));
    let guessing = async {
        let mut next = tokio::time::interval(GUESS_EVERY);
        for n in 0_usize.. {
            next.tick().await;
            let place = Arc::clone(&places).acquire_owned().await;
            let guess = json!({ "email": format!("{n}@example.com"), "password": "a guess", "device_name": "x" });
            under_way.spawn(async move {
                let _place = place;
                post(server, GUESSER, "/v1/login", &guess).await
            });
        }
    };
    let times = tokio::select! {
        times = log_in(server, people) => times?,
        () = guessing => unreachable!("there is no last guess"),
    };
    let took = started.elapsed();
    let mut guesses = Guesses { sent: under_way.len(), looked_at: 0, took };
    while let Some(ended) = under_way.join_next().await {
        // A connection that gave way to a newer one is a guess that was not looked at.
        guesses.looked_at += usize::from(ended?.is_ok_and(|(status, _)| status == 401));
    }
    Ok((times, guesses))
}

/// One request on a connection of its own, from this address.
async fn post(server: SocketAddr, from: Ipv4Addr, path: &str, body: &Value) -> Result<(u16, Value)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(server).await?;
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).context("no status")?.parse()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}
