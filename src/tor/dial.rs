//! How relays are dialled: the one place of the Tor client that opens connections.
//!
//! Arti hands addresses of relays and bridges here, never names: there is nothing to resolve. Each connection carries
//! many circuits' cells, so small writes must not wait for one another (`TCP_NODELAY`), and a network that is gone must
//! show within seconds, not after the kernel's quarter of an hour: keep-alive probes when idle, and a limit on
//! how long written bytes may stay unacknowledged. Then circuits die, idle streams end, and nothing is sent on them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tor_rtcompat::tokio::TokioRustlsRuntime;
use tor_rtcompat::{CompoundRuntime, NetStreamProvider, RuntimeSubstExt as _};

/// Probes begin after this much silence.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
/// Between probes; three unanswered ones end the connection.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// How long written bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// Arti's runtime, dialling as described above.
pub(super) type Runtime = CompoundRuntime<
    TokioRustlsRuntime,
    TokioRustlsRuntime,
    TokioRustlsRuntime,
    Relays,
    TokioRustlsRuntime,
    TokioRustlsRuntime,
    TokioRustlsRuntime,
>;

type Base = TokioRustlsRuntime;
type BaseStream = <Base as NetStreamProvider<SocketAddr>>::Stream;

/// The runtime that this is called in. Fails outside one.
pub(super) fn runtime() -> io::Result<Runtime> {
    let base = Base::current()?;
    Ok(base.with_tcp_provider(Relays { base: base.clone() }))
}

/// Connections to relays.
#[derive(Clone)]
pub(super) struct Relays {
    base: Base,
}

#[async_trait::async_trait]
impl NetStreamProvider<SocketAddr> for Relays {
    type Stream = BaseStream;
    type Listener = <Base as NetStreamProvider<SocketAddr>>::Listener;
    type ConnectOptions = <Base as NetStreamProvider<SocketAddr>>::ConnectOptions;
    type ListenOptions = <Base as NetStreamProvider<SocketAddr>>::ListenOptions;

    async fn connect(&self, address: &SocketAddr, _options: &Self::ConnectOptions) -> io::Result<BaseStream> {
        #[expect(clippy::disallowed_methods, reason = "Arti dials relays and bridges here, by address")]
        let stream = tokio::net::TcpStream::connect(*address).await?;
        stream.set_nodelay(true)?;
        notice_death(&stream);
        Ok(stream.into())
    }

    async fn listen(
        &self,
        address: &SocketAddr,
        options: &Self::ListenOptions,
    ) -> io::Result<Self::Listener> {
        self.base.listen(address, options).await
    }
}

/// Not every system has every option; a connection without them is only slower to die.
fn notice_death(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    #[cfg(not(windows))]
    let keep_alive = keep_alive.with_retries(3);
    let _: io::Result<()> = socket.set_tcp_keepalive(&keep_alive);
    #[cfg(target_os = "linux")]
    let _: io::Result<()> = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}
