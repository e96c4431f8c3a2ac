//! What the server lets in, from whom, how much and how fast; and what its answers tell a browser.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use fitme_testing::{Certificate, Postgres, ServerHere, ServerProcess, state_on};
use reqwest::{Client, Method, Response};
use serde_json::json;
use sync_server::clock::Clock;
use sync_server::db;
use sync_server::edge::connections::{self, Bounds};
use sync_server::edge::lobby::{Lobby, Room};
use sync_server::http::router;
use sync_server::master_key::MasterKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Answer, PASSWORD, credentials, log_in, sign_up};

/// No step of a test takes longer, however busy the computer is.
const PATIENCE: Duration = Duration::from_secs(60);
const EVIL: &str = "https://evil.example";
const APP: &str = "https://app.example.org";

fn server_with(environment: &[(&str, &str)]) -> ServerProcess {
    ServerProcess::start_with(Some(&Postgres::shared().database().url), environment)
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_has_the_defences_of_a_browser() {
    let server = server_with(&[]);
    let ann = sign_up(server.url(), "ann@example.org", "phone").await.body;
    let client = Client::new();
    let ask = |method, path: &str| client.request(method, format!("{}{path}", server.url()));
    let token = ann["access_token"].as_str().unwrap();
    let answers = [
        (ask(Method::GET, "/healthz"), 200),
        (ask(Method::GET, "/v1/account").bearer_auth(token), 200),
        (ask(Method::GET, "/v1/account"), 401),
        (ask(Method::GET, "/nothing"), 404),
        (ask(Method::POST, "/v1/login").body(vec![0; 2 << 20]), 413),
        (ask(Method::POST, "/v1/login").header("origin", EVIL), 403),
    ];
    for (request, status) in answers {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(header(&answer, name), Some(value), "{name} of the answer {status}");
        }
        let policy = header(&answer, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(header(&answer, "strict-transport-security"), None, "without TLS a browser would ignore it");
    }
}

#[tokio::test]
async fn a_server_that_speaks_tls_asks_browsers_for_nothing_else() {
    let certificate = Certificate::new();
    let environment = certificate.environment();
    let server = server_with(&environment.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
    let authority = reqwest::Certificate::from_pem(&std::fs::read(certificate.file()).unwrap()).unwrap();
    let client = Client::builder().add_root_certificate(authority).build().unwrap();
    let answer = client.get(format!("{}/healthz", server.url())).send().await.unwrap();
    assert_eq!(header(&answer, "strict-transport-security"), Some("max-age=63072000"));
    // Who does not speak TLS gets no answer, and the next one does.
    assert!(reqwest::get(server.url().replace("https", "http") + "/healthz").await.is_err());
    assert_eq!(client.get(format!("{}/healthz", server.url())).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_page_of_another_origin_sends_nothing_opens_no_session_and_reads_no_answer() {
    let server = server_with(&[]);
    let ann = sign_up(server.url(), "ann@example.org", "phone").await.body;
    let token = ann["access_token"].as_str().unwrap();
    let client = Client::new();
    let from = |method: Method, path: &str, name: &str, value: &str| {
        client.request(method, format!("{}{path}", server.url())).header(name, value).bearer_auth(token)
    };
    let upgrade =
        from(Method::GET, "/v1/sync", "origin", EVIL).header("upgrade", "websocket").header("connection", "upgrade");
    for refused in [
        from(Method::POST, "/v1/logout", "origin", EVIL),
        from(Method::POST, "/v1/logout", "origin", "null"),
        from(Method::POST, "/v1/logout", "sec-fetch-site", "cross-site"),
        from(Method::POST, "/v1/sync/once", "sec-fetch-site", "same-site"),
        upgrade,
    ] {
        let answer = Answer::of(refused.send().await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "cross_site"));
    }
    let read = from(Method::GET, "/v1/account", "origin", EVIL).send().await.unwrap();
    assert_eq!(
        (read.status().as_u16(), header(&read, "access-control-allow-origin")),
        (200, None),
        "a browser hides it"
    );
    let asked = from(Method::OPTIONS, "/v1/login", "origin", EVIL).header("access-control-request-method", "POST");
    assert_eq!(header(&asked.send().await.unwrap(), "access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_let_in() {
    let server = server_with(&[("FITME_ALLOWED_ORIGINS", "https://app.example.org, https://other.example.org")]);
    let client = Client::new();
    let ask = |method, origin| client.request(method, format!("{}/v1/login", server.url())).header("origin", origin);
    let asked = ask(Method::OPTIONS, APP).header("access-control-request-method", "POST").send().await.unwrap();
    assert_eq!(header(&asked, "access-control-allow-origin"), Some(APP));
    assert!(header(&asked, "access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(header(&asked, "access-control-allow-credentials"), None, "there are no cookies");
    let login = ask(Method::POST, APP).json(&credentials("ann@example.org", PASSWORD, "browser")).send().await.unwrap();
    assert_eq!((login.status().as_u16(), header(&login, "access-control-allow-origin")), (401, Some(APP)));
    let evil = ask(Method::POST, EVIL).send().await.unwrap();
    assert_eq!((evil.status().as_u16(), header(&evil, "access-control-allow-origin")), (403, None));
}

/// Sends as much of a body as the server takes, and returns how much that was and what it answered.
async fn pour(server: &str, headers: &str, chunk: &[u8]) -> (usize, String) {
    const ALL: usize = 100 << 20;
    let (mut read, mut write) = TcpStream::connect(server.trim_start_matches("http://")).await.unwrap().into_split();
    write.write_all(format!("POST /v1/login HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n").as_bytes()).await.unwrap();
    let pouring = async {
        let mut taken = 0;
        while taken < ALL && write.write_all(chunk).await.is_ok() {
            taken += chunk.len();
        }
        taken
    };
    let mut answer = vec![0; 4096];
    tokio::select! {
        // The first bytes of an answer are what a client waits for before it gives up sending.
        read = read.read(&mut answer) => (0, String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned()),
        taken = pouring => {
            let read = read.read(&mut answer).await.unwrap_or_default();
            (taken, String::from_utf8_lossy(&answer[..read]).into_owned())
        }
    }
}

#[tokio::test]
async fn a_body_of_100_mb_is_cut_early() {
    let server = server_with(&[]);
    let declared = format!("content-type: application/json\r\ncontent-length: {}", 100 << 20);
    let (taken, answer) = pour(server.url(), &declared, &[b' '; 64 << 10]).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(taken < 16 << 20, "{taken} bytes were taken");
    let mut chunk = format!("{:x}\r\n", 64 << 10).into_bytes();
    chunk.extend_from_slice(&[b' '; 64 << 10]);
    chunk.extend_from_slice(b"\r\n");
    let chunked = "content-type: application/json\r\ntransfer-encoding: chunked";
    let (taken, answer) = pour(server.url(), chunked, &chunk).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(taken < 16 << 20, "{taken} bytes were taken");
    assert_eq!(sign_up(server.url(), "ann@example.org", "phone").await.status, 201);
}

#[tokio::test]
async fn headers_have_a_bound_in_number_and_in_length() {
    let server = server_with(&[]);
    let status = async |count: usize, length: usize| {
        let mut request = Client::new().get(format!("{}/healthz", server.url()));
        for n in 0..count {
            request = request.header(format!("x-{n}"), "y".repeat(length));
        }
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(50, 10).await, 200);
    assert_eq!(status(70, 10).await, 431);
    assert_eq!(status(1, 60_000).await, 431);
}

/// A server in this process with these bounds of its connections.
async fn bounded(bounds: Bounds) -> (String, tempfile::TempDir) {
    let pool = db::connect(Postgres::shared().database().url.parse().unwrap()).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let state = state_on(pool, MasterKey::random(), Clock::default(), data.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = state.shutdown.clone();
    tokio::spawn(connections::serve(listener, router(state), bounds, None, shutdown));
    (url, data)
}

async fn half_open(url: &str) -> TcpStream {
    let mut socket = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();
    socket
}

/// Waits until the server hangs up.
async fn hung_up(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("the server hangs up");
    let _reset_is_as_good = read;
}

#[tokio::test]
async fn a_thousand_half_open_sockets_give_way_to_whoever_comes() {
    let room = Room { places: 4_096, of_one_address: 256 };
    let (url, _data) = bounded(Bounds { lobby: Lobby::of(room), ..Bounds::default() }).await;
    let mut sockets = Vec::new();
    for _ in 0..1_000 {
        sockets.push(half_open(&url).await);
    }
    for socket in &mut sockets[..1_000 - room.of_one_address] {
        hung_up(socket).await;
    }
    assert_eq!(sign_up(&url, "ann@example.org", "phone").await.status, 201, "the newest has its place");
}

#[tokio::test]
async fn who_does_not_end_his_headers_is_cut_off() {
    let (url, _data) = bounded(Bounds { headers_within: Duration::from_millis(200), ..Bounds::default() }).await;
    let begun = Instant::now();
    hung_up(&mut half_open(&url).await).await;
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

/// A device that is known is not displaced by strangers behind the same address.
#[tokio::test]
async fn a_session_outlives_any_number_of_half_open_sockets() {
    let (url, _data) =
        bounded(Bounds { lobby: Lobby::of(Room { places: 4, of_one_address: 4 }), ..Bounds::default() }).await;
    let ann = sign_up(&url, "ann@example.org", "phone").await.body;
    let mut session = crate::rogue::Rogue::connect_to(&url, &ann).await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(half_open(&url).await);
    }
    session.say(&fitme_core::wire::Frame::Hello(session.hello())).await;
    assert!(matches!(session.hear().await, Some(fitme_core::wire::Frame::Welcome(_))));
}

/// Of 127.0.0.0/8 every address is this computer, and another client.
fn client_at(address: Ipv4Addr) -> Client {
    Client::builder().local_address(IpAddr::V4(address)).build().unwrap()
}

#[tokio::test]
async fn an_address_that_asks_too_much_waits_and_its_neighbours_do_not() {
    let server = server_with(&[("FITME_ADDRESS_PACE", "1")]);
    let (busy, calm) = (client_at(Ipv4Addr::new(127, 0, 0, 2)), client_at(Ipv4Addr::new(127, 0, 0, 3)));
    let healthz = format!("{}/healthz", server.url());
    let mut last = None;
    // A purse holds what comes in within half a minute.
    for _ in 0..1_000 {
        let answer = Answer::of(busy.get(&healthz).send().await.unwrap()).await;
        if answer.status != 200 {
            last = Some(answer);
            break;
        }
    }
    let refused = last.expect("there is an end to it");
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "too_many_requests"));
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    assert_eq!(calm.get(&healthz).send().await.unwrap().status(), 200);
    // A header that anybody can write buys no other purse.
    let lied = busy.get(&healthz).header("x-forwarded-for", "198.51.100.1").send().await.unwrap();
    assert_eq!(lied.status(), 429);
    assert!(server.log().contains("FITME_TRUSTED_PROXY_HOPS"), "the operator is told what the header may mean");
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_it_was_asked_from_counts() {
    let server = server_with(&[("FITME_ADDRESS_PACE", "1"), ("FITME_TRUSTED_PROXY_HOPS", "1")]);
    let healthz = format!("{}/healthz", server.url());
    let from = async |forwarded: &str| {
        Client::new().get(&healthz).header("x-forwarded-for", forwarded).send().await.unwrap().status().as_u16()
    };
    let mut asked = 0;
    while from("6.6.6.6, 198.51.100.1").await == 200 {
        asked += 1;
        assert!(asked < 1_000, "there is an end to it");
    }
    assert_eq!(from("7.7.7.7, 198.51.100.1").await, 429, "what the client wrote before it is not believed");
    assert_eq!(from("198.51.100.2").await, 200);
}

#[tokio::test]
async fn an_account_that_asks_too_much_waits_whatever_addresses_it_has() {
    let server = ServerHere::on(&Postgres::shared().database().url, &MasterKey::random());
    let (ann, ben) = (
        sign_up(server.url(), "ann@example.org", "phone").await.body,
        sign_up(server.url(), "ben@example.org", "phone").await.body,
    );
    let client = Client::new();
    let ask = async |who: &serde_json::Value| {
        let request = client.get(format!("{}/v1/account", server.url()));
        Answer::of(request.bearer_auth(who["access_token"].as_str().unwrap()).send().await.unwrap()).await
    };
    // The first refusal is looked at: on a slow machine the purse holds something again when the next one asks.
    let mut answer = ask(&ann).await;
    for _ in 0..100_000 {
        if answer.status != 200 {
            break;
        }
        answer = ask(&ann).await;
    }
    assert_eq!(answer.code(), "too_many_requests");
    assert_eq!(ask(&ben).await.status, 200);
}

/// Guesses arrive at once, of other accounts each, so that no lock-out stops them: few are looked at, and whoever
/// logs in from elsewhere meanwhile is.
#[tokio::test]
async fn a_flood_of_guesses_from_one_address_leaves_room_for_others() {
    let server = server_with(&[]);
    sign_up(server.url(), "ann@example.org", "phone").await;
    let guesser = client_at(Ipv4Addr::new(127, 0, 0, 66));
    let guess = |n: usize| {
        let body = json!({ "email": format!("{n}@example.org"), "password": "a guess", "device_name": "x" });
        let request = guesser.post(format!("{}/v1/login", server.url())).json(&body);
        async { Answer::of(request.send().await.unwrap()).await.code().to_owned() }
    };
    let guesses = futures_util::future::join_all((0..200).map(guess));
    let (codes, ann) = tokio::join!(guesses, log_in(server.url(), "ann@example.org", "tablet"));
    assert_eq!(ann.status, 200);
    let looked_at = codes.iter().filter(|code| *code == "wrong_credentials").count();
    let refused = codes.iter().filter(|code| *code == "too_many_requests").count();
    assert_eq!(looked_at + refused, codes.len(), "{codes:?}");
    assert!((1..100).contains(&looked_at), "{looked_at} guesses were looked at");
}

#[tokio::test]
async fn what_is_configured_wrongly_is_said_at_the_start() {
    let certificate = Certificate::new();
    let (file, nowhere) =
        (certificate.file().display().to_string(), certificate.folder().join("no").display().to_string());
    for (environment, said) in [
        (vec![("FITME_ALLOWED_ORIGINS", "app.example.org")], "FITME_ALLOWED_ORIGINS"),
        (vec![("FITME_TLS_CERT", file.as_str()), ("FITME_TLS_KEY", nowhere.as_str())], "FITME_TLS_KEY"),
        (vec![("FITME_TLS_CERT", file.as_str())], "--tls-key"),
    ] {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_sync-server"));
        let data = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(program);
        command.arg("serve").envs(environment).env("FITME_DATA", data.path()).env("FITME_LISTEN", "127.0.0.1:0");
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{text}");
    }
}
