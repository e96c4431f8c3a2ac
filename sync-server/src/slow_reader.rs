//! Cuts off a client that takes its answer too slowly. The time limit of requests ends where an answer begins, and hyper
//! waits for a reader without end: whoever reads a byte a minute would keep megabytes here for as long as he likes. A cut
//! answer of a one-shot exchange loses its last frame only, so an honest device on a very bad network goes on from there.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While bytes wait for a client, within so long…
    pub window: Duration,
    /// …it has to take so many.
    pub least_bytes: usize,
}

impl Default for Patience {
    /// 4 KiB a second, which the slowest mobile networks carry: the longest one-shot answer, 4 MiB, is through or cut
    /// after a quarter of an hour.
    fn default() -> Self {
        Self { window: Duration::from_secs(30), least_bytes: 128 << 10 }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// A connection that is cut when its client is too slow.
pub struct PatientIo<S> {
    stream: S,
    patience: Patience,
    /// While the client has not taken everything; an idle connection has no timer.
    waiting: Option<Waiting>,
}

struct Waiting {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> PatientIo<S> {
    /// Wraps a connection.
    pub fn new(stream: S, patience: Patience) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Notes what became of a write; an error when the client is too slow.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Patience { window, least_bytes } = self.patience;
        match written {
            Poll::Pending => {}
            Poll::Ready(written) => {
                if let (Some(waiting), Ok(bytes)) = (&mut self.waiting, &written) {
                    waiting.taken += bytes;
                }
                return Poll::Ready(written);
            }
        }
        let begin = || Waiting { until: Box::pin(sleep_until(Instant::now() + window)), taken: 0 };
        let waiting = self.waiting.get_or_insert_with(begin);
        while waiting.until.as_mut().poll(context).is_ready() {
            if waiting.taken < least_bytes {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes too little")));
            }
            *waiting = begin();
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once everything was written: the client has kept up.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const TINY: Patience = Patience { window: Duration::from_millis(20), least_bytes: 100 };
    const ANSWER: &[u8] = &[7; 10_000];

    /// A connection with a network that holds little, and the client at its other end.
    fn connection() -> (PatientIo<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(64);
        (PatientIo::new(server, TINY), client)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (mut server, _client) = connection();
        assert_eq!(server.write_all(ANSWER).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_takes_too_little_is_cut_off_and_one_that_takes_the_least_is_not() {
        for (takes, windows) in [(TINY.least_bytes - 1, 1), (TINY.least_bytes, 2)] {
            let (mut server, mut client) = connection();
            let begun = Instant::now();
            let (answered, _) = tokio::join!(server.write_all(ANSWER), async {
                // The server has begun to wait by now: this side of the join is polled after the other.
                client.read_exact(&mut vec![0; takes]).await.unwrap()
            });
            assert_eq!(answered.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() >= TINY.window * windows, "{takes} bytes keep the server {windows} windows");
        }
    }

    #[tokio::test]
    async fn a_client_that_keeps_up_gets_everything() {
        let (mut server, mut client) = connection();
        let mut got = Vec::new();
        let (answered, _) = tokio::join!(
            async {
                server.write_all(ANSWER).await?;
                server.flush().await?;
                server.shutdown().await
            },
            client.read_to_end(&mut got)
        );
        answered.unwrap();
        assert_eq!(got, ANSWER);
        assert!(server.waiting.is_none(), "an idle connection has no timer");
    }
}
