//! A client's socket: tells which protocol is spoken on it, when it has taken everything, and when its peer takes nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::handover::Line;

/// What an HTTP/2 client begins with, and no HTTP/1.1 request does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A socket that tells its line when it has taken everything, which hyper flushes only with its own buffer empty, and
/// that fails once its peer has taken nothing for too long.
pub(super) struct Socket {
    stream: TcpStream,
    /// Read to tell the protocol, and not yet by it.
    beginning: BytesMut,
    line: Arc<Line>,
    write_time: Duration,
    /// Set while the peer takes nothing: when that becomes a failure.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>, write_time: Duration) -> Self {
        Self { stream, beginning: BytesMut::new(), line, write_time, stalled: None }
    }

    /// Reads as much as it takes to tell.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        loop {
            let compared = self.beginning.len().min(PREFACE.len());
            if self.beginning[..compared] != PREFACE[..compared] {
                return Ok(Protocol::Http1);
            }
            if compared == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
            if self.stream.read_buf(&mut self.beginning).await? == 0 {
                return if compared == 0 {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(Protocol::Http1)
                };
            }
        }
    }

    /// What a write came to: a stall begins with the first that waits and ends with the next that does not.
    fn watch(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_time = self.write_time;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(write_time)));
        stalled.as_mut().poll(cx).map(|()| {
            tracing::debug!("a client does not read its answer: cutting its connection");
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.beginning.has_remaining() {
            let count = self.beginning.len().min(buffer.remaining());
            buffer.put_slice(&self.beginning.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.line.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
