//! A WebSocket that says back what it hears: the least that a message there and one back can cost.

use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::measure::Times;

/// Times `turns` of a message of `bytes`, there and back.
pub fn turns(runtime: &Runtime, bytes: usize, turns: usize) -> Result<Times> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let echo = runtime.spawn(serve_one(listener));
    let times = runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client_async(format!("ws://{address}"), stream).await?;
        let message = Message::Binary(vec![7; bytes].into());
        let mut times = Times::default();
        for _ in 0..turns {
            let started = Instant::now();
            socket.send(message.clone()).await?;
            socket.next().await.context("the echo ended")??;
            times.push(started.elapsed());
        }
        socket.close(None).await?;
        anyhow::Ok(times)
    })?;
    runtime.block_on(echo)??;
    Ok(times)
}

async fn serve_one(listener: TcpListener) -> Result<()> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.try_next().await? {
        if message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
