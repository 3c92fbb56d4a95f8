//! Asks an HTTP server on this machine for a path and exits with 0 if it answers with 2xx: `healthy 127.0.0.1:9797 /path`.
//! The images have no shell and no curl. Compiled by the Dockerfile with `rustc` alone; never part of llmtor.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

fn asks(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 10];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.1 2"))
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [address, path] = given.as_slice() else {
        eprintln!("healthy ADDRESS:PORT /PATH");
        return ExitCode::from(2);
    };
    match address.parse().map(|address| asks(address, path)) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => {
            eprintln!("{address}{path} answers, but not with 2xx");
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            eprintln!("{address} does not answer: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("{address} is no address and port such as 127.0.0.1:9797");
            ExitCode::from(2)
        }
    }
}
