//! Sockets that a service manager listened on before this process was started (systemd's `LISTEN_FDS`).
//!
//! Invariant: what is taken is a listening TCP socket of a loopback address; anything else is refused, because others could
//! reach it.

use std::net::{SocketAddr, TcpListener};

/// Why what was handed over cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InheritedError {
    /// Not a listening TCP socket.
    #[error("the service manager handed over something that is no listening TCP socket")]
    NoListener,
    /// Others can reach it.
    #[error(
        "the service manager listens on {0}, where others can reach it; llmtor is for this machine alone"
    )]
    NotLoopback(SocketAddr),
}

/// The sockets handed over; none without a service manager.
pub fn listeners() -> Result<Vec<TcpListener>, InheritedError> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::with_capacity(handed.len());
    for index in 0..handed.len() {
        let listener = handed.take_tcp_listener(index).ok().flatten().ok_or(InheritedError::NoListener)?;
        listeners.push(listener);
    }
    checked(listeners)
}

fn checked(listeners: Vec<TcpListener>) -> Result<Vec<TcpListener>, InheritedError> {
    for listener in &listeners {
        let address = listener.local_addr().map_err(|_| InheritedError::NoListener)?;
        if !address.ip().is_loopback() {
            return Err(InheritedError::NotLoopback(address));
        }
        listener.set_nonblocking(true).map_err(|_| InheritedError::NoListener)?;
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_taken() {
        let loopback = || TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(checked(vec![loopback()]).unwrap().len(), 1);
        let open = TcpListener::bind("0.0.0.0:0").unwrap();
        let refused = checked(vec![loopback(), open]).unwrap_err();
        assert!(matches!(refused, InheritedError::NotLoopback(_)));
        assert!(refused.to_string().contains("this machine alone"));
    }

    #[test]
    fn without_a_service_manager_there_is_none() {
        assert!(listeners().unwrap().is_empty());
    }
}
