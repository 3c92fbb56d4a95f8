//! What a node says of itself on its control socket (C tor's control-spec).

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{poll, read};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an onion service may take to tell its directories of itself.
const UPLOADED_WITHIN: Duration = Duration::from_secs(60);
/// After the first directory was told, the others follow without longer pauses than this.
const QUIET: Duration = Duration::from_secs(1);

/// One circuit of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Its number.
    pub id: String,
    /// The relays, by fingerprint and name, nearest first.
    pub path: Vec<String>,
    /// What is it for.
    pub purpose: String,
    /// The SOCKS user name that it is kept for.
    pub user: Option<String>,
}

/// The lines of the answer to one command; `None` when nobody answers.
pub(super) fn ask(socket: &Path, command: &str) -> Option<Vec<String>> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
    write!(stream, "AUTHENTICATE\r\n{command}\r\nQUIT\r\n").ok()?;
    let lines: Option<Vec<_>> =
        BufReader::new(stream).lines().map(|line| line.ok().map(|line| line.trim_end().to_owned())).collect();
    // Without the answers to AUTHENTICATE and QUIT.
    let mut lines = lines?;
    (lines.len() >= 3).then(|| lines.drain(1..lines.len() - 1).collect())
}

pub(super) fn circuits(socket: &Path) -> Vec<Circuit> {
    let lines = ask(socket, "GETINFO circuit-status").expect("an answer");
    lines.iter().filter_map(|line| circuit(line.trim_start_matches("250-circuit-status="))).collect()
}

/// `7 BUILT $FP~name,$FP~name PURPOSE=GENERAL SOCKS_USERNAME="…"`
fn circuit(line: &str) -> Option<Circuit> {
    let mut words = line.split(' ');
    let (id, status, path) = (words.next()?, words.next()?, words.next()?);
    let value = |key: &str| {
        line.split(' ')
            .find_map(|word| word.strip_prefix(key))
            .map(|value| value.trim_matches('"').to_owned())
    };
    (status == "BUILT").then(|| Circuit {
        id: id.to_owned(),
        path: path.split(',').map(str::to_owned).collect(),
        purpose: value("PURPOSE=").unwrap_or_default(),
        user: value("SOCKS_USERNAME="),
    })
}

/// Whether an onion service's descriptor got to its directories.
pub(super) fn has_uploaded_descriptors(socket: &Path) -> bool {
    let mut stream = None;
    poll(ANSWER_WITHIN, || {
        stream = UnixStream::connect(socket).ok();
        stream.is_some()
    });
    let Some(mut stream) = stream else { return false };
    stream.write_all(b"AUTHENTICATE\r\nSETEVENTS HS_DESC\r\n").unwrap();
    let deadline = Instant::now() + UPLOADED_WITHIN;
    let mut uploaded = 0;
    let mut lines = BufReader::new(stream);
    loop {
        let patience = if uploaded > 0 { QUIET } else { deadline.saturating_duration_since(Instant::now()) };
        if patience.is_zero() {
            return false;
        }
        lines.get_ref().set_read_timeout(Some(patience)).unwrap();
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) => return false,
            Ok(_) if line.starts_with("650 HS_DESC UPLOADED") => uploaded += 1,
            Ok(_) => {}
            Err(_) => return uploaded > 0,
        }
    }
}

/// How many circuits clients have through a relay that they begin at. To a controller a relay tells only of circuits that
/// it made itself; it counts the others in its log when asked for its state.
pub(super) fn client_circuits(socket: &Path, log: &Path) -> usize {
    let before = read(log).len();
    ask(socket, "SIGNAL DUMP").expect("an answer");
    let mut said = String::new();
    let whole = poll(ANSWER_WITHIN, || {
        said = read(log).split_off(before);
        said.contains("Dumping history information")
    });
    assert!(whole, "the relay does not tell of its state");
    circuits_of_clients(&said)
}

/// `* Channel 5 has these marks: … client local incoming`, and on the next line `* Channel 5 has 0 active circuits out of 2
/// in total`.
fn circuits_of_clients(dump: &str) -> usize {
    let lines: Vec<_> = dump.lines().collect();
    let of_clients = lines.windows(2).filter(|pair| {
        pair[0].contains("has these marks:") && pair[0].contains(" client ") && pair[0].ends_with(" incoming")
    });
    let total = |line: &str| line.rsplit_once("out of ")?.1.split(' ').next()?.parse::<usize>().ok();
    of_clients.map(|pair| total(pair[1]).expect("a number of circuits")).sum()
}

#[test]
fn a_line_of_a_client_is_read_as_a_circuit() {
    let line = r#"12 BUILT $AA~node0,$BB~node4 BUILD_FLAGS=NEED_CAPACITY PURPOSE=GENERAL SOCKS_USERNAME="u""#;
    let read = circuit(line).unwrap();
    assert_eq!((read.id.as_str(), read.path.len(), read.user.as_deref()), ("12", 2, Some("u")));
    assert_eq!(circuit("12 LAUNCHED PURPOSE=GENERAL"), None);
}

#[test]
fn only_the_circuits_that_clients_bring_are_counted() {
    let dump = "\
        [notice]  * Channel 1 has these marks: bad_for_new_circs canonical !client local outgoing\n\
        [notice]  * Channel 1 has 0 active circuits out of 7 in total\n\
        [notice]  * Channel 2 has these marks: !bad_for_new_circs !canonical client local incoming\n\
        [notice]  * Channel 2 has 1 active circuits out of 21 in total\n\
        [notice]  * Channel 3 has these marks: !bad_for_new_circs !canonical client local incoming\n\
        [notice]  * Channel 3 has 0 active circuits out of 2 in total\n";
    assert_eq!(circuits_of_clients(dump), 23);
}
