//! A device without a store, for tests that decide themselves what it says and when.

use std::time::Duration;

use fitme_core::id::FeedId;
use fitme_core::session::summary;
use fitme_core::wire::{self, Cursors, Frame, Goodbye, Hello, goodbye};
use fitme_testing::ServerProcess;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PATIENCE: Duration = Duration::from_secs(30);

/// A device that says what the test wants.
pub struct Rogue {
    socket: tokio_tungstenite::WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    feeds: Vec<(FeedId, [u8; 8], String)>,
}

impl Rogue {
    pub async fn connect(server: &ServerProcess, signed_up: &Value) -> Self {
        Self::connect_to(server.url(), signed_up).await
    }

    pub async fn connect_to(url: &str, signed_up: &Value) -> Self {
        let url = url.replace("http://", "ws://") + "/v1/sync";
        let mut request = url.into_client_request().unwrap();
        let token = signed_up["access_token"].as_str().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let feeds = signed_up["feeds"].as_array().unwrap().iter().map(|feed| {
            let epoch = u64::from_str_radix(feed["epoch"].as_str().unwrap(), 16).unwrap().to_be_bytes();
            (FeedId(feed["feed"].as_u64().unwrap()), epoch, feed["collection"].as_str().unwrap().to_owned())
        });
        Self { socket, feeds: feeds.collect() }
    }

    pub fn feed(&self, collection: &str) -> FeedId {
        self.feeds.iter().find(|(_, _, name)| name == collection).unwrap().0
    }

    pub fn hello(&self) -> Hello {
        let mut held: Vec<_> = self.feeds.iter().map(|(feed, epoch, _)| (*feed, *epoch)).collect();
        held.sort_unstable();
        Hello {
            major: wire::MAJOR,
            minor: wire::MINOR,
            summary: summary(
                held.iter().map(|(feed, epoch)| (*feed, fitme_core::id::Epoch(*epoch), 0, Default::default())),
            ),
            cursors: Some(Cursors(held.into_iter().map(|(feed, _)| (feed, 0)).collect())),
            ..Hello::default()
        }
    }

    pub async fn send(&mut self, bytes: Vec<u8>) {
        // A server that has hung up already is what some of these tests are about.
        let _ = self.socket.send(Message::Binary(bytes.into())).await;
    }

    pub async fn say(&mut self, frame: &Frame) {
        self.send(wire::encode(frame).unwrap()).await;
    }

    /// The next frame; `None` when the server has ended the connection.
    pub async fn hear(&mut self) -> Option<Frame> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server answers or hangs up") {
                Some(Ok(Message::Binary(bytes))) => return wire::decode(&bytes).unwrap(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn expect_goodbye(&mut self, code: &str) -> Goodbye {
        loop {
            match self.hear().await {
                Some(Frame::Goodbye(last)) => {
                    assert_eq!(goodbye::code(last.reason), code, "{}", last.message);
                    assert!(!last.message.is_empty());
                    return last;
                }
                Some(_) => {}
                None => panic!("the server hung up without a word"),
            }
        }
    }
}
