//! Listening on this machine, and saying who is in the way.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Listen;

use super::AppError;

/// Connections that may wait to be accepted; a burst of clients must not be turned away.
const BACKLOG: u32 = 1024;

/// Binds what `listen` says. With `localhost`, ::1 is a bonus that a machine may lack, unless somebody else has it.
pub(super) fn bind(listen: Listen) -> Result<(Vec<TcpListener>, String), AppError> {
    let (first, also) = listen.addresses();
    let listener = bind_one(first)?;
    let bound = listener.local_addr().map_err(|error| AppError::Listen { address: first, error })?;
    let mut listeners = vec![listener];
    if let Some(ip) = also {
        match bind_one(SocketAddr::new(ip, bound.port())) {
            Ok(listener) => listeners.push(listener),
            Err(error @ AppError::AddressInUse { .. }) => return Err(error),
            Err(error) => tracing::info!(%error, "localhost is 127.0.0.1 only"),
        }
    }
    Ok((listeners, base_url(listen, bound)))
}

/// What clients are pointed at.
pub(super) fn base_url(listen: Listen, bound: SocketAddr) -> String {
    match listen {
        Listen::Loopback(_) => format!("http://{bound}/v1"),
        Listen::Localhost(_) => format!("http://localhost:{}/v1", bound.port()),
    }
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, AppError> {
    try_bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => AppError::AddressInUse { address, holder: holder(address) },
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

/// `name (pid N)` of the process that listens on `address`, where the system tells.
#[cfg(target_os = "linux")]
fn holder(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address.port()))?;
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid =
        pids.find(|pid| {
            // Other users' processes cannot be read; they are passed over.
            std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().any(|fd| {
                std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
            })
        })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", name.trim()))
}

#[cfg(not(target_os = "linux"))]
fn holder(_address: SocketAddr) -> Option<String> {
    None
}

/// The inode of a socket in state LISTEN on `port`, out of proc's table.
#[cfg(target_os = "linux")]
fn listening_inode(table: &str, port: u16) -> Option<String> {
    let port = format!("{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit(':').next()?;
        (local == port && *fields.get(3)? == "0A").then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

#[cfg(test)]
mod tests {
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
        let port = listeners[0].local_addr().unwrap().port();
        assert_eq!(url, format!("http://localhost:{port}/v1"));
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().port() == port));
    }
}
