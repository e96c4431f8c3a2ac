//! Connections: accepted, given their bounds, and served until the server stops. axum's own loop does the same without
//! bounds: a client that never ends its headers would keep a connection for as long as he likes.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt;

use super::lobby::{Lobby, Place};
use super::peer::subscriber;
use super::tls::Tls;
use crate::slow_reader::{Patience, PatientIo, Peer};

/// Headers of one request; a device sends ten.
const HEADERS: usize = 64;
/// Bytes of one request's headers.
const HEADER_BYTES: usize = 32 << 10;
/// How long running requests may take to finish once the server was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection for want of something, such as file descriptors.
const WANT_PAUSE: Duration = Duration::from_millis(100);

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// How slow a client may take its answer.
    pub patience: Patience,
    /// How long a TLS handshake may take, and the headers of a request. An idle connection ends by it, too.
    pub headers_within: Duration,
    /// Room for those of whom nobody is known.
    pub lobby: Lobby,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { patience: Patience::default(), headers_within: Duration::from_secs(30), lobby: Lobby::default() }
    }
}

/// Serves `app` on this listener until `shutdown`, and then until what runs has ended or [`DRAIN`] is over.
pub async fn serve(listener: TcpListener, app: Router, bounds: Bounds, tls: Option<Tls>, shutdown: CancellationToken) {
    let connected = TaskTracker::new();
    let served = Served { app, bounds, tls, shutdown: shutdown.clone(), connected: connected.clone() };
    let served = Arc::new(served);
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, address)) => {
                connected.spawn(Arc::clone(&served).connection(socket, address));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted; raise the limit of open files if that is the reason");
                tokio::time::sleep(WANT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connected.close();
    if tokio::time::timeout(DRAIN, connected.wait()).await.is_err() {
        tracing::warn!("connections were cut that did not end in time");
    }
}

/// The client went before it was let in.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Served {
    app: Router,
    bounds: Bounds,
    tls: Option<Tls>,
    shutdown: CancellationToken,
    connected: TaskTracker,
}

/// Held by what goes on after the request that it began with, as a WebSocket does: a server that stops waits for it, too.
#[derive(Debug, Clone)]
pub struct GoesOn(#[expect(dead_code, reason = "it is held, not read")] TaskTrackerToken);

impl Served {
    async fn connection(self: Arc<Self>, socket: TcpStream, from: SocketAddr) {
        // Small messages must not wait for an acknowledgement of the one before.
        let _without_it_all_works = socket.set_nodelay(true);
        let place = self.bounds.lobby.enter(subscriber(from.ip()));
        let io = PatientIo::new(socket, self.bounds.patience);
        let served = async {
            match &self.tls {
                None => self.http(io, from.ip(), &place).await,
                Some(tls) => match tokio::time::timeout(self.bounds.headers_within, tls.accept(io)).await {
                    Ok(Ok(io)) => self.http(io, from.ip(), &place).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                },
            }
        };
        tokio::select! {
            () = served => {}
            () = place.displaced() => tracing::debug!("a connection gave its place to a newer one"),
        }
    }

    async fn http<S>(&self, io: S, from: IpAddr, place: &Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (place, goes_on) = (place.clone(), GoesOn(self.connected.token()));
        let app = self.app.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(Peer(from)));
            request.extensions_mut().insert(place.clone());
            request.extensions_mut().insert(goes_on.clone());
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.headers_within)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(io), TowerToHyperService::new(app))
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}
