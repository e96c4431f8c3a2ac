//! The order of the layers, each pair proved by a request that would be answered otherwise if they stood the other way round.

use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::Method;
use fitme_testing::{Database, Postgres, state_on};
use serde_json::Value;
use sqlx::PgPool;
use sync_server::auth::Device;
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::clock::Clock;
use sync_server::db;
use sync_server::http::stack;
use sync_server::master_key::MasterKey;
use sync_server::routes::Routes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::client::{Answer, credentials};

/// Long enough for a busy computer to answer in, short enough to wait for.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);

/// What all stages of this process log. One log for all threads: `tracing` decides once for each place in the code whether
/// anybody listens, and a listener on a single thread can lose that race.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Writer;

impl std::io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn listen_to_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let layer = tracing_subscriber::fmt::layer().json().with_writer(|| Writer).with_filter(LevelFilter::DEBUG);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    });
}

/// The real stack in this process, around routes that misbehave, on a real socket and database.
struct Stage {
    url: String,
    owner: PgPool,
    clock: Clock,
    token: String,
    device: String,
    request_id: String,
    hold: Arc<Notify>,
    held: Arc<Notify>,
    _database: Database,
}

impl Stage {
    async fn set(timeout: Duration, requests: usize) -> Self {
        listen_to_the_log();
        let database = Postgres::shared().database();
        let pool = db::connect(database.url.parse().unwrap()).await.unwrap();
        let owner = PgPool::connect(&database.owner).await.unwrap();
        let (clock, data) = (Clock::default(), tempfile::tempdir().unwrap());
        let mut state = state_on(pool, MasterKey::random(), clock.clone(), data.path()).await;
        state.limits.timeout = timeout;
        state.limits.requests = requests;
        let (hold, held) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let routes = sync_server::accounts::routes().merge(misbehaving(&hold, &held));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, stack(routes, state)).into_future());
        let ana = crate::client::post(&url, "/v1/signup", &credentials("ana@example.org", "12345678", "phone")).await;
        let text = |name: &str| ana.body[name].as_str().unwrap().to_owned();
        let request_id = format!("play-{}", url.rsplit(':').next().unwrap());
        Self {
            url,
            owner,
            clock,
            request_id,
            token: text("access_token"),
            device: text("device"),
            hold,
            held,
            _database: database,
        }
    }

    async fn ask(&self, path: &str, token: Option<&str>) -> Answer {
        let request =
            reqwest::Client::new().get(format!("{}{path}", self.url)).header("x-request-id", &self.request_id);
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        Answer::of(request.send().await.unwrap()).await
    }

    async fn ask_as_ana(&self, path: &str) -> Answer {
        self.ask(path, Some(&self.token)).await
    }
}

fn misbehaving(hold: &Arc<Notify>, held: &Arc<Notify>) -> Routes {
    let (hold, held) = (Arc::clone(hold), Arc::clone(held));
    Routes::new()
        .closed(Method::GET, "/panic", || async { panic!("with a literal") as () })
        .closed(Method::GET, "/whoami", |device: Device| async move { device.device.to_string() })
        .closed(Method::GET, "/ws", |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(speak_late) })
        .closed(Method::POST, "/body", |body: String| async move { body.len().to_string() })
        .closed(Method::GET, "/hold", move || async move {
            held.notify_one();
            hold.notified().await;
            "let go"
        })
}

async fn speak_late(mut socket: WebSocket) {
    tokio::time::sleep(SHORT + SHORT / 4).await;
    socket.send("still here".into()).await.unwrap();
}

#[tokio::test]
async fn every_answer_of_every_layer_carries_the_request_id() {
    let stage = Stage::set(SHORT, 100).await;
    let answers = [
        (stage.ask_as_ana("/whoami").await, 200),
        (stage.ask("/whoami", None).await, 401),
        (stage.ask_as_ana("/nothing").await, 404),
        (stage.ask_as_ana("/panic").await, 500),
        (stage.ask_as_ana("/hold").await, 504),
    ];
    for (answer, status) in answers {
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.request_id.as_deref(), Some(stage.request_id.as_str()), "the answer {status}");
    }
    let strange = reqwest::Client::new().get(format!("{}/nothing", stage.url)).header("x-request-id", "a b{c}");
    let own = Answer::of(strange.send().await.unwrap()).await.request_id.unwrap();
    assert_eq!(own.len(), 36, "a strange request id is replaced: {own}");
}

#[tokio::test]
async fn a_panic_is_a_typed_error_and_the_server_goes_on() {
    let stage = Stage::set(LONG, 100).await;
    assert_eq!(stage.ask_as_ana("/panic").await.code(), "internal");
    assert_eq!(stage.ask_as_ana("/whoami").await.body, Value::String(stage.device.clone()));
}

#[tokio::test]
async fn the_timeout_covers_waiting_for_the_database_to_say_who_asks() {
    let stage = Stage::set(SHORT, 100).await;
    let mut lock = stage.owner.begin().await.unwrap();
    sqlx::query("LOCK TABLE sign_ins IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    assert_eq!(stage.ask_as_ana("/whoami").await.code(), "timeout");
    lock.rollback().await.unwrap();
    assert_eq!(stage.ask_as_ana("/whoami").await.status, 200);
}

#[tokio::test]
async fn an_overloaded_server_does_not_ask_who_you_are() {
    let stage = Stage::set(LONG, 1).await;
    let (held, refused) = tokio::join!(stage.ask_as_ana("/hold"), async {
        stage.held.notified().await;
        let refused = stage.ask("/whoami", None).await;
        stage.hold.notify_one();
        refused
    });
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "overloaded"));
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    assert_eq!(held.body, Value::String("let go".to_owned()));
    assert_eq!(stage.ask("/whoami", None).await.code(), "unauthenticated", "the place is free again");
}

#[tokio::test]
async fn a_long_body_of_a_stranger_is_not_read_and_ana_is_told_the_limit() {
    let stage = Stage::set(LONG, 100).await;
    let send = |token: String| {
        let request = reqwest::Client::new().post(format!("{}/body", stage.url)).bearer_auth(token);
        async { request.body("x".repeat(20_000)).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(send("wrong".to_owned()).await, 401);
    assert_eq!(send(stage.token.clone()).await, 413);
}

#[tokio::test]
async fn only_a_valid_token_opens_a_closed_route() {
    let stage = Stage::set(LONG, 100).await;
    for wrong in [None, Some(""), Some("wrong"), Some(&stage.token[1..])] {
        assert_eq!(stage.ask("/whoami", wrong).await.code(), "unauthenticated", "{wrong:?}");
    }
    stage.clock.advance(2 * ACCESS_LIFETIME);
    assert_eq!(stage.ask_as_ana("/whoami").await.code(), "unauthenticated", "the token has expired");
}

#[tokio::test]
async fn a_websocket_outlives_the_timeout_of_requests() {
    let stage = Stage::set(SHORT, 100).await;
    let mut socket = TcpStream::connect(stage.url.trim_start_matches("http://")).await.unwrap();
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {}\r\n\r\n",
        stage.token
    );
    socket.write_all(handshake.as_bytes()).await.unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 1024]);
    while !seen.contains("still here") {
        let n = socket.read(&mut buffer).await.unwrap();
        assert_ne!(n, 0, "the server closed the socket after: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(seen.starts_with("HTTP/1.1 101 "), "{seen}");
}

#[tokio::test]
async fn the_log_knows_which_device_asked_in_which_request() {
    let stage = Stage::set(LONG, 100).await;
    stage.ask_as_ana("/whoami").await;
    stage.ask("/whoami", None).await;
    stage.ask_as_ana("/panic").await;

    let text = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["span"]["request_id"] == stage.request_id.as_str())
        .collect();
    let line_with = |field: &str, value: Value| {
        let found = lines.iter().find(|line| line["fields"][field] == value);
        found.unwrap_or_else(|| panic!("no line with {field} = {value}: {lines:#?}"))
    };
    assert_eq!(line_with("status", 200.into())["span"]["device"], stage.device.as_str());
    assert_eq!(line_with("code", "unauthenticated".into())["span"]["route"], "/whoami", "a stranger is logged as well");
    assert_eq!(line_with("code", "internal".into())["span"]["device"], stage.device.as_str(), "a panic is, too");
    assert!(!text.contains(&stage.token), "the log holds no token");
}
