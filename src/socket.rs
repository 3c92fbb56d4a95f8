//! A TCP stream that acknowledges at once what it receives.
//!
//! Senders with Nagle's algorithm on, and C tor has it on everywhere, hold a small segment back until the one before it is
//! acknowledged; a receiver that puts its acknowledgements off (Linux: 40 ms) makes each such pair of segments take so
//! long. Neither side of that is ours at a relay. Where we receive, we need not put anything off: on the connection to the
//! guard, and where the reference backend is asked by an exit.
//!
//! On systems without the option (all but Linux and its kin) this is the stream as it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that acknowledges at once.
pub struct Prompt(TcpStream);

impl Prompt {
    /// The same stream, acknowledging at once from now on.
    pub fn new(stream: TcpStream) -> Self {
        let prompt = Self(stream);
        prompt.acknowledge();
        prompt
    }

    /// The system forgets it as soon as something is sent: it is said again after each read.
    fn acknowledge(&self) {
        // A stream without it is only slower.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _: io::Result<()> = socket2::SockRef::from(&self.0).set_tcp_quickack(true);
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Prompt {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_ready() {
            self.acknowledge();
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Rounds of two small segments and an answer, against a sender with Nagle's algorithm, as an exit is; how long they take.
    async fn rounds<S: AsyncRead + AsyncWrite + Unpin>(receiver: impl FnOnce(TcpStream) -> S) -> Duration {
        const ROUNDS: usize = 10;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sending = tokio::spawn(async move {
            #[expect(clippy::disallowed_methods, reason = "a test dials its own listener")]
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(false).unwrap();
            let mut answer = [0];
            for _ in 0..ROUNDS {
                stream.write_all(b"a").await.unwrap();
                stream.write_all(b"b").await.unwrap();
                stream.read_exact(&mut answer).await.unwrap();
            }
        });
        let mut stream = receiver(listener.accept().await.unwrap().0);
        let begun = Instant::now();
        let mut pair = [0; 2];
        for _ in 0..ROUNDS {
            stream.read_exact(&mut pair[..1]).await.unwrap();
            stream.read_exact(&mut pair[1..]).await.unwrap();
            stream.write_all(b"c").await.unwrap();
        }
        sending.await.unwrap();
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_sender_that_waits_for_acknowledgements_does_not_wait_for_us() {
        let plain = rounds(|stream| stream).await;
        let prompt = rounds(Prompt::new).await;
        assert!(plain > Duration::from_millis(200), "this system puts nothing off: {plain:?}");
        assert!(prompt * 4 < plain, "{prompt:?} against {plain:?}");
    }
}
