//! A way to the server on which every byte is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Passes connections on to a server.
pub struct CountingProxy {
    url: String,
    bytes: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl CountingProxy {
    /// Listens on loopback for connections to `server`.
    pub fn start(runtime: &Runtime, server: &str) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let target = server.strip_prefix("http://").context("the server listens on plain HTTP")?.to_owned();
        let (bytes, open) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, connected) = (Arc::clone(&bytes), Arc::clone(&open));
        let task = runtime.spawn(async move {
            while let Ok((mut device, _)) = listener.accept().await {
                connected.fetch_add(1, Ordering::SeqCst);
                if let Ok(mut server) = TcpStream::connect(&target).await
                    && let Ok((up, down)) = copy_bidirectional(&mut device, &mut server).await
                {
                    counted.fetch_add(up + down, Ordering::SeqCst);
                }
                connected.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Ok(Self { url, bytes, open, task })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Bytes both ways, once every connection has ended.
    pub fn bytes(&self) -> u64 {
        while self.open.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        self.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
