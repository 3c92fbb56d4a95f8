//! Listening on this machine, and saying who is in the way.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Listen;

use super::AppError;
use super::holder::Holder;

/// Connections that may wait to be accepted; a burst of clients must not be turned away.
const BACKLOG: u32 = 1024;
/// How often a port is looked for that is free at two addresses.
const TRIES: u32 = 16;

/// The sockets that a service manager handed over, else those that `listen` says.
pub(super) fn listeners(listen: Listen) -> Result<(Vec<TcpListener>, String), AppError> {
    let inherited = crate::service::inherited::listeners()?;
    let mut taken = Vec::with_capacity(inherited.len());
    let mut addresses = Vec::with_capacity(inherited.len());
    for listener in inherited {
        let failed = |error| AppError::Listen { address: listen.addresses().0, error };
        addresses.push(listener.local_addr().map_err(failed)?);
        taken.push(TcpListener::from_std(listener).map_err(failed)?);
    }
    let Some(bound) = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()) else {
        return bind(listen);
    };
    if !addresses.contains(&listen.addresses().0) {
        tracing::warn!(%bound, configured = %listen, "the service manager listens elsewhere than server.listen says, and counts; `llmtor service install` has it follow");
    }
    Ok((taken, base_url(*bound)))
}

/// Binds what `listen` says. With `localhost`, a machine may lack ::1; but nobody else may have it: a client that is told
/// `localhost` takes either.
pub(super) fn bind(listen: Listen) -> Result<(Vec<TcpListener>, String), AppError> {
    bind_addresses(listen).map(|(listeners, bound)| (listeners, base_url(bound)))
}

/// The same, told by its first address.
pub(super) fn bind_addresses(listen: Listen) -> Result<(Vec<TcpListener>, SocketAddr), AppError> {
    let (first, also) = listen.addresses();
    let mut tries = if first.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_all(first, also) {
            // The system chose a port that is free at one address only.
            Err(AppError::AddressInUse { address, .. }) if address.ip() != first.ip() && tries > 0 => {}
            Err(error) => return Err(error),
            Ok(bound) => return Ok(bound),
        }
    }
}

fn bind_all(first: SocketAddr, also: Option<IpAddr>) -> Result<(Vec<TcpListener>, SocketAddr), AppError> {
    let listener = bind_one(first)?;
    let bound = listener.local_addr().map_err(|error| AppError::Listen { address: first, error })?;
    let mut listeners = vec![listener];
    if let Some(ip) = also {
        match bind_one(SocketAddr::new(ip, bound.port())) {
            Ok(listener) => listeners.push(listener),
            Err(error @ AppError::AddressInUse { .. }) => return Err(error),
            Err(error) => tracing::debug!(%error, "localhost is 127.0.0.1 only"),
        }
    }
    Ok((listeners, bound))
}

/// What clients are pointed at: an address, not a name that may be resolved elsewhere.
pub(super) fn base_url(bound: SocketAddr) -> String {
    format!("http://{bound}/v1")
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, AppError> {
    try_bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => AppError::AddressInUse { address, holder: Holder::of(address) },
        _ => AppError::Listen { address, error },
    })
}

fn try_bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an earlier daemon that linger must not keep a new one from starting.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_with_its_holder() {
        let (taken, _) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken[0].local_addr().unwrap();
        let error = bind(Listen::Loopback(address)).err().unwrap().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        }
    }

    #[tokio::test]
    async fn localhost_is_both_loopback_addresses_on_one_port() {
        let (listeners, url) = bind(Listen::Localhost(0)).unwrap();
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let port = addresses[0].port();
        assert_eq!(url, format!("http://127.0.0.1:{port}/v1"));
        assert_eq!(addresses[0], SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        if try_bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).is_ok() {
            assert_eq!(addresses[1..], [SocketAddr::from((Ipv6Addr::LOCALHOST, port))]);
        }
    }

    #[tokio::test]
    async fn localhost_is_refused_while_somebody_else_has_half_of_it() {
        let Ok(taken) = try_bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) else { return };
        let address = taken.local_addr().unwrap();
        let error = bind(Listen::Localhost(address.port())).err().unwrap();
        assert!(
            matches!(error, AppError::AddressInUse { address: named, .. } if named == address),
            "{error}"
        );
    }
}
