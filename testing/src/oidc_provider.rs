//! A real OpenID Connect provider (the npm package `oidc-provider`), and somebody between it and the server who can change
//! what is said: the server has to notice.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::response::Response;
use reqwest::{Client, Url, redirect};
use serde_json::Value;
use sync_server::accounts::oidc::settings::OidcArgs;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::browser::Browser;
use crate::postgres::block_on;

/// Where browsers are told that the server is; tests open the server's real address instead.
pub const PUBLIC_URL: &str = "https://sync.example.org";
/// For how long the provider's tokens are good.
pub const TOKEN_SECONDS: u64 = 300;
/// Longest body that goes through.
const BODY_BYTES: usize = 1 << 20;
const ANNOUNCEMENT: &str = "listening on ";

/// Changes a text on its way.
type Change = Box<dyn Fn(String) -> String + Send>;

/// A provider whose answers can be changed on their way. Dropping it stops it.
pub struct OidcProvider {
    issuer: String,
    between: Arc<Between>,
    process: Child,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// Whoever sits between provider and server.
struct Between {
    /// The provider's own address; the issuer's is that of whoever sits here.
    provider: Mutex<String>,
    asked: Mutex<Option<(&'static str, Change)>>,
    answered: Mutex<Option<(&'static str, Change)>>,
}

impl OidcProvider {
    /// A provider that tells addresses when it is asked about a person, as the standard has it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A provider that puts addresses into its tokens, as most do.
    #[must_use]
    pub fn with_addresses_in_tokens() -> Self {
        Self::start_with(&[("EMAIL_IN_TOKEN", "1")])
    }

    fn start_with(environment: &[(&str, &str)]) -> Self {
        let nobody = String::new();
        let between =
            Arc::new(Between { provider: Mutex::new(nobody), asked: Mutex::default(), answered: Mutex::default() });
        let stop = CancellationToken::new();
        let (issuer, thread) = sit_between(Arc::clone(&between), stop.clone());
        let (process, address) = launch(&issuer, environment);
        *between.provider.lock().unwrap_or_else(PoisonError::into_inner) = address;
        Self { issuer, between, process, stop, thread: Some(thread) }
    }

    /// What names this provider to a server.
    #[must_use]
    pub fn settings(&self) -> OidcArgs {
        OidcArgs {
            oidc_issuer: Some(self.issuer.clone()),
            oidc_client_id: Some("fitme".to_owned()),
            oidc_client_secret: "secret-of-fitme".parse().ok(),
            public_url: Some(PUBLIC_URL.to_owned()),
        }
    }

    /// From now on what is sent to `path` goes through `change`.
    pub fn change_question(&self, path: &'static str, change: impl Fn(String) -> String + Send + 'static) {
        *self.between.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some((path, Box::new(change)));
    }

    /// From now on what `path` answers goes through `change`.
    pub fn change_answer(&self, path: &'static str, change: impl Fn(Value) -> Value + Send + 'static) {
        let change = move |text: String| change(serde_json::from_str(&text).expect("the provider answers JSON"));
        *self.between.answered.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((path, Box::new(move |text| change(text).to_string())));
    }

    /// A true token of this provider for another client or another sign-in: `client` asked for it with `nonce`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn token_for(&self, client: &str, nonce: &str, login: &str) -> String {
        let callback = format!("{PUBLIC_URL}/v1/oidc/callback");
        let asked = [
            ("client_id", client),
            ("response_type", "code"),
            ("scope", "openid email"),
            ("redirect_uri", &callback),
            ("nonce", nonce),
            // RFC 7636, appendix B.
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ];
        let url = Url::parse_with_params(&format!("{}/auth", self.issuer), asked).expect("an address");
        let back = Url::parse(&Browser::default().sign_in(url.as_str(), login)).expect("an address");
        let code = back.query_pairs().find(|(key, _)| key == "code").expect("a code").1.into_owned();
        let exchanged = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &callback),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ];
        // Past whoever sits between.
        let provider = self.between.provider.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer: Value = block_on(async || {
            let request = Client::new().post(format!("{provider}/token")).form(&exchanged);
            let answer = request.basic_auth(client, Some(format!("secret-of-{client}"))).send().await;
            answer.expect("the provider answers").json().await.expect("it answers JSON")
        });
        answer["id_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(thread) = self.thread.take() {
            let _panicked_in_the_test = thread.join();
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc-provider")
}

fn launch(issuer: &str, environment: &[(&str, &str)]) -> (Child, String) {
    let installed = folder().join("node_modules/oidc-provider").is_dir();
    assert!(installed, "the provider of the tests is not installed; run `scripts/setup --tests`");
    let mut process = Command::new("node")
        .arg("provider.mjs")
        .current_dir(folder())
        .envs([("ISSUER", issuer), ("CALLBACK", &format!("{PUBLIC_URL}/v1/oidc/callback"))])
        .env("TOKEN_SECONDS", TOKEN_SECONDS.to_string())
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node can be run; `scripts/setup --tests` installs it");
    let out = BufReader::new(process.stdout.take().expect("standard output is piped"));
    let mut lines = out.lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix(ANNOUNCEMENT).map(ToOwned::to_owned));
    (process, address.expect("the provider listens"))
}

/// Starts whoever passes on everything; returns its address.
fn sit_between(between: Arc<Between>, stop: CancellationToken) -> (String, JoinHandle<()>) {
    let (ready, started) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
            let _test_is_over = ready.send(listener.local_addr().expect("a listener has an address"));
            let service = Router::new().fallback(pass_on).with_state(between);
            let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
            served.await.expect("it passes on until it is told to stop");
        });
    });
    (format!("http://{}", started.recv().expect("it starts")), thread)
}

async fn pass_on(State(between): State<Arc<Between>>, request: Request) -> Response {
    let (mut asked, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES).await.expect("the question is whole");
    let path = asked.uri.path().to_owned();
    let body = changed(&between.asked, &path, body.to_vec());
    let provider = between.provider.lock().unwrap_or_else(PoisonError::into_inner).clone();
    asked.headers.remove(CONTENT_LENGTH);
    let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client can be made");
    let request = client.request(asked.method, format!("{provider}{}", asked.uri)).headers(asked.headers).body(body);
    let answer = request.send().await.expect("the provider answers");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    response.headers_mut().clone_from(answer.headers());
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().remove(TRANSFER_ENCODING);
    let body = answer.bytes().await.expect("the answer is whole");
    *response.body_mut() = changed(&between.answered, &path, body.to_vec()).into();
    response
}

fn changed(change: &Mutex<Option<(&'static str, Change)>>, path: &str, body: Vec<u8>) -> Vec<u8> {
    match change.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        Some((changed, change)) if *changed == path => {
            change(String::from_utf8(body).expect("what is changed is text")).into_bytes()
        }
        _ => body,
    }
}
