//! The real server in the test's own process: its clock can be moved, and its access tokens can be made short.

use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use sync_server::accounts::oidc::provider::Provider;
use sync_server::accounts::oidc::settings::{OidcArgs, Settings};
use sync_server::audit::Audit;
use sync_server::auth::access_token::ACCESS_LIFETIME;
use sync_server::clock::Clock;
use sync_server::config::{DEFAULT_SENDER, MailArgs};
use sync_server::db::{self, installation};
use sync_server::edge::pace::Pace;
use sync_server::mail::Mailer;
use sync_server::master_key::MasterKey;
use sync_server::serve;
use sync_server::state::AppState;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::letters;

/// A running server. Dropping it stops it.
pub struct ServerHere {
    url: String,
    state: AppState,
    data: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl ServerHere {
    /// A server on the given database, whose secrets are sealed by this key.
    #[must_use]
    pub fn on(database_url: &str, master: &MasterKey) -> Self {
        Self::with(database_url, master, Clock::default(), ACCESS_LIFETIME)
    }

    /// The same with a clock that others may share, and with access tokens of another lifetime.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with(database_url: &str, master: &MasterKey, clock: Clock, access_lifetime: Duration) -> Self {
        let shorten = move |state: &mut AppState| state.tokens = state.tokens.clone().living(access_lifetime);
        Self::start(database_url, master, clock, shorten)
    }

    /// The same where a provider signs people in.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn signing_in_by(oidc: &OidcArgs, database_url: &str, master: &MasterKey, clock: Clock) -> Self {
        let settings = Settings::of(oidc).unwrap_or_else(|error| panic!("{error}")).expect("a provider is named");
        let provider = Provider::new(settings, clock.clone()).unwrap_or_else(|error| panic!("{error}"));
        Self::start(database_url, master, clock, move |state| state.oidc = Some(provider))
    }

    fn start(
        database_url: &str,
        master: &MasterKey,
        clock: Clock,
        adjust: impl FnOnce(&mut AppState) + Send + 'static,
    ) -> Self {
        let (ready, started) = mpsc::channel();
        let (options, master) = (PgConnectOptions::from_str(database_url).expect("an address"), master.clone());
        let data = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = data.path().to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
            runtime.block_on(async {
                // Not closed at the end: a test may have used a connection from a runtime that stands still by then.
                let pool = db::connect(options).await.expect("the database answers");
                let mut state = state_on(pool, master, clock, &folder).await;
                adjust(&mut state);
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
                let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
                let _test_is_over = ready.send((url, state.clone()));
                serve::listen(listener, state).await;
            });
        });
        let (url, state) = started.recv().expect("the server starts");
        Self { url, state, data, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The letters that it has sent, in no order.
    #[must_use]
    pub fn letters(&self) -> Vec<String> {
        letters::all(self.data.path())
    }

    /// The word after `command` in a letter to `email`, once it is there.
    #[must_use]
    pub fn mailed(&self, email: &str, command: &str) -> String {
        letters::token(self.data.path(), email, command)
    }

    /// What its handlers share.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }
}

/// What the handlers of a server in this process share; letters go into the folder `mail` of `data`, signed heads into
/// `audit`.
///
/// # Panics
/// When the database does not answer.
pub async fn state_on(pool: PgPool, master: MasterKey, clock: Clock, data: &Path) -> AppState {
    installation::establish(&pool).await.expect("the database is migrated");
    let mail = MailArgs { smtp_url: None, mail_from: DEFAULT_SENDER.to_owned() };
    let mailer = Mailer::open(&mail, data).unwrap_or_else(|error| panic!("{error}"));
    let audit = Audit::open(pool.clone(), &master, clock.clone(), &data.join("audit"));
    let audit = audit.unwrap_or_else(|error| panic!("{error}"));
    let state = AppState::new(pool, master, clock, mailer, audit, CancellationToken::new()).await;
    let mut state = state.unwrap_or_else(|error| panic!("{error}"));
    // Tests that move the clock log in more often than anybody does by the wall's.
    state.edge.pace = Pace::of(NonZeroU32::MAX);
    state
}

impl Drop for ServerHere {
    fn drop(&mut self) {
        self.state.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            let _panicked_in_the_test = thread.join();
        }
    }
}
