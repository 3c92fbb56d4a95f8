//! Every packet of one interface, by `tcpdump`.
//!
//! That none is missing is counted: the interface says how many packets it passed, and a capture with more or fewer is a
//! failure, as is one that the kernel dropped a packet of.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;

use super::judge::Frame;
use super::namespace::Namespace;

/// How long the start, and what is still under way at the end, may take.
const WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A running capture; ends when dropped.
pub struct Capture<'a> {
    namespace: &'a Namespace,
    interface: &'static str,
    file: PathBuf,
    child: Child,
    said: Receiver<String>,
    before: usize,
}

impl<'a> Capture<'a> {
    /// On return nothing passes unseen. Nobody may be at work in the namespace yet.
    pub fn start(namespace: &'a Namespace, interface: &'static str, room: &Path) -> Self {
        let file = room.join(format!("{interface}.pcap"));
        let _ = std::fs::remove_file(&file);
        let before = namespace.passed(interface);
        let mut child = namespace
            .command("tcpdump")
            // As root, to write where it is told; every packet as it comes, whole, to the file at once.
            .args([
                "-Z",
                "root",
                "-n",
                "-U",
                "--immediate-mode",
                "-s",
                "0",
                "-B",
                "32768",
                "-i",
                interface,
                "-w",
            ])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, said) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut capture = Self { namespace, interface, file, child, said, before };
        capture.until_said("listening on");
        capture
    }

    /// Ends it when all that passed is in it.
    pub fn finish(mut self) -> Vec<Frame> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let captured = read(&self.file).0.len();
            let passed = self.namespace.passed(self.interface) - self.before;
            if captured == passed {
                break;
            }
            assert!(Instant::now() < deadline, "{captured} packets of {passed} on {}", self.interface);
            thread::sleep(PAUSE);
        }
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let dropped = self.until_said("dropped by kernel");
        assert!(dropped.starts_with("0 packets"), "{dropped}");
        assert!(self.child.wait().unwrap().success());
        let (frames, whole) = read(&self.file);
        assert!(whole, "the capture cannot be read to its end");
        frames
    }

    fn until_said(&mut self, what: &str) -> String {
        let deadline = Instant::now() + WITHIN;
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(patience) {
                Ok(line) if line.contains(what) => return line,
                Ok(_) => {}
                Err(error) => panic!("tcpdump on {} did not say `{what}`: {error}", self.interface),
            }
        }
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The frames, and whether the file ends with the last of them.
fn read(path: &Path) -> (Vec<Frame>, bool) {
    let mut frames = Vec::new();
    let Ok(mut reader) = PcapReader::new(File::open(path).unwrap()) else { return (frames, false) };
    assert_eq!(reader.header().datalink, DataLink::ETHERNET);
    while let Some(packet) = reader.next_packet() {
        let Ok(packet) = packet else { return (frames, false) };
        let length = usize::try_from(packet.orig_len).unwrap();
        frames.push(Frame { at: packet.timestamp, bytes: packet.data.into_owned(), length });
    }
    (frames, true)
}
