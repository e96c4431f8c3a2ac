//! A server and a device of `samod` in one process, storage in memory, connected by TCP on loopback: the device pulls
//! every document of the file, then connects again while nothing has changed.
//!
//! `samod-peer FILE`: the file holds documents as automerge saves them, each behind its length (4 bytes, little endian).
//! Prints four numbers: seconds to pull, seconds to connect again, bytes of the pull, bytes of the second connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use automerge::Automerge;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all, try_join_all};
use samod::{
    BackoffConfig, ConnectionId, DialError, Dialer, DialerHandle, DocHandle, DocumentId, Repo, Transport, Url,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::io::{InspectReader, InspectWriter};

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).context("usage: samod-peer FILE")?;
    let server = Repo::build_tokio().load().await;
    let mut ids = Vec::new();
    for document in documents(&std::fs::read(file)?)? {
        ids.push(server.create(document).await?.document_id().clone());
    }
    let device = Repo::build_tokio().load().await;
    let line = Line { address: listen(&server).await?, bytes: Arc::default() };

    let started = Instant::now();
    let (connection, _) = line.dial(&device).await?;
    let handles = pull(&device, ids).await?;
    let pulled = (started.elapsed().as_secs_f64(), line.bytes.swap(0, Ordering::Relaxed));
    connection.close();
    drop(connection);

    let started = Instant::now();
    let (_connection, id) = line.dial(&device).await?;
    join_all(handles.iter().map(|handle| handle.we_have_their_changes(id))).await;
    let again = (started.elapsed().as_secs_f64(), line.bytes.load(Ordering::Relaxed));
    println!("{} {} {} {}", pulled.0, again.0, pulled.1, again.1);
    // What still runs in the background has no end of its own.
    std::process::exit(0)
}

fn documents(mut bytes: &[u8]) -> Result<Vec<Automerge>> {
    let mut documents = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (document, rest) = rest.split_at_checked(length).context("the file ends within a document")?;
        documents.push(Automerge::load(document)?);
        bytes = rest;
    }
    Ok(documents)
}

async fn listen(server: &Repo) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let acceptor = server.make_acceptor(Url::parse(&format!("tcp://{address}"))?)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _no_delay_is_no_must = stream.set_nodelay(true);
            if acceptor.accept(Transport::from_tokio_io(stream)).is_err() {
                return;
            }
        }
    });
    Ok(address)
}

async fn pull(device: &Repo, ids: Vec<DocumentId>) -> Result<Vec<DocHandle>> {
    let found = try_join_all(ids.into_iter().map(|id| device.find(id))).await?;
    found.into_iter().collect::<Option<_>>().context("a document was not found")
}

/// The way to the server, its bytes counted.
#[derive(Clone)]
struct Line {
    address: String,
    bytes: Arc<AtomicU64>,
}

impl Line {
    async fn dial(&self, device: &Repo) -> Result<(DialerHandle<Infallible>, ConnectionId)> {
        let connection = device.dial(BackoffConfig::default(), Arc::new(self.clone()))?;
        connection.established().await.ok().context("the device does not reach the server")?;
        let id = connection.connection_id().context("an established connection has an id")?;
        Ok((connection, id))
    }
}

impl Dialer for Line {
    type Error = Infallible;

    fn url(&self) -> Url {
        Url::parse(&format!("tcp://{}", self.address)).expect("a socket's address is part of a URL")
    }

    fn connect(&self) -> BoxFuture<'static, Result<Transport, DialError<Infallible>>> {
        let Self { address, bytes } = self.clone();
        async move {
            let stream = TcpStream::connect(address).await.map_err(DialError::transient)?;
            stream.set_nodelay(true).map_err(DialError::transient)?;
            let (read, written) = (Arc::clone(&bytes), bytes);
            let stream = InspectReader::new(stream, move |bytes: &[u8]| count(&read, bytes));
            Ok(Transport::from_tokio_io(InspectWriter::new(stream, move |bytes: &[u8]| count(&written, bytes))))
        }
        .boxed()
    }
}

fn count(counter: &AtomicU64, bytes: &[u8]) {
    counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}
