//! A network that treats connections badly: resets them, slows them down, or goes silent and tells neither side. It carries
//! TCP to one of several servers, drawn anew for each connection, and never changes a byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Bytes carried at once: less than most frames, so that a cut comes in the middle of one.
const PIECE_BYTES: usize = 1_024;

/// How a connection is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// As it should be.
    Clear,
    /// So many bytes a second, each way.
    Slow(u32),
    /// Nothing arrives any more at one end or at both, and neither is told.
    Silent(Silence),
    /// Reset at both ends, wherever it was.
    Cut,
}

/// Which way nothing is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// What the device sends is lost on the way.
    OfDevice,
    /// What the server sends is lost on the way.
    OfServer,
    /// Both.
    OfBoth,
}

impl Silence {
    /// One of them.
    pub fn random(rng: &mut StdRng) -> Self {
        *[Self::OfDevice, Self::OfServer, Self::OfBoth].choose(rng).expect("there are three")
    }
}

/// A running proxy; dropping it ends all its connections.
pub struct FaultProxy {
    address: SocketAddr,
    lines: Arc<Lines>,
    runtime: Option<Runtime>,
}

impl FaultProxy {
    /// A proxy before these servers, all lines clear.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before(servers: Vec<SocketAddr>, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        listener.set_nonblocking(true).expect("a listener can be asked without waiting");
        let address = listener.local_addr().expect("a listener has an address");
        let open = Open { rng: StdRng::seed_from_u64(seed), next: 0, lines: BTreeMap::new() };
        let lines = Arc::new(Lines { servers, open: Mutex::new(open) });
        runtime.spawn(accept(listener, Arc::clone(&lines)));
        Self { address, lines, runtime: Some(runtime) }
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Treats so many of the clear connections differently from now on, if there are so many; returns how many.
    pub fn treat(&self, connections: usize, line: Line) -> usize {
        let mut open = self.lines.open();
        let Open { rng, lines, .. } = &mut *open;
        let clear = lines.values().filter(|treated| *treated.borrow() == Line::Clear);
        let chosen = clear.choose_multiple(rng, connections);
        for treated in &chosen {
            treated.send_replace(line);
        }
        chosen.len()
    }

    /// Treats all connections differently that are treated like `now`.
    pub fn treat_all(&self, now: impl Fn(Line) -> bool, then: Line) {
        let open = self.lines.open();
        for line in open.lines.values() {
            line.send_if_modified(|line| {
                let changes = now(*line);
                if changes {
                    *line = then;
                }
                changes
            });
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Lines {
    servers: Vec<SocketAddr>,
    open: Mutex<Open>,
}

struct Open {
    rng: StdRng,
    next: u64,
    lines: BTreeMap<u64, watch::Sender<Line>>,
}

impl Lines {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> (u64, SocketAddr, watch::Receiver<Line>) {
        let mut open = self.open();
        let server = self.servers[open.rng.random_range(0..self.servers.len())];
        let number = open.next;
        open.next += 1;
        let (treat, line) = watch::channel(Line::Clear);
        open.lines.insert(number, treat);
        (number, server, line)
    }

    fn leave(&self, number: u64) {
        self.open().lines.remove(&number);
    }
}

async fn accept(listener: std::net::TcpListener, lines: Arc<Lines>) {
    let listener = TcpListener::from_std(listener).expect("it runs inside the runtime");
    while let Ok((device, _)) = listener.accept().await {
        let (number, server, line) = lines.enter();
        let lines = Arc::clone(&lines);
        tokio::spawn(async move {
            carry(device, server, line).await;
            lines.leave(number);
        });
    }
}

async fn carry(mut device: TcpStream, server: SocketAddr, line: watch::Receiver<Line>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&device) };
    let ended_in_order = {
        let ((from_device, to_device), (from_server, to_server)) = (device.split(), server.split());
        let up = pump(from_device, to_server, line.clone(), Silence::OfDevice);
        let down = pump(from_server, to_device, line.clone(), Silence::OfServer);
        tokio::select! {
            ends = async { tokio::try_join!(up, down) } => ends.is_ok(),
            () = cut(line) => false,
        }
    };
    if !ended_in_order {
        reset(&device);
        reset(&server);
    }
}

/// When the socket is dropped the other end hears of it by a reset, and loses what it has not read.
fn reset(socket: &TcpStream) {
    let _it_is_gone_already = socket.set_zero_linger();
}

async fn cut(mut line: watch::Receiver<Line>) {
    if line.wait_for(|line| *line == Line::Cut).await.is_err() {
        std::future::pending().await
    }
}

/// Carries one way until its end.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: watch::Receiver<Line>,
    way: Silence,
) -> std::io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        hold(&mut line, way, length).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

/// Waits until the line lets a piece through.
async fn hold(line: &mut watch::Receiver<Line>, way: Silence, length: usize) {
    loop {
        let now = *line.borrow_and_update();
        match now {
            Line::Silent(silence) if silence == way || silence == Silence::OfBoth => {
                if line.changed().await.is_err() {
                    return;
                }
            }
            Line::Slow(bytes_per_second) => {
                let takes = length as f64 / f64::from(bytes_per_second.max(1));
                return tokio::time::sleep(Duration::from_secs_f64(takes)).await;
            }
            Line::Clear | Line::Silent(_) | Line::Cut => return,
        }
    }
}
