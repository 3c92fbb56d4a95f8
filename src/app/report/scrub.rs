//! Taking out of a text what tells who somebody is, or what is theirs alone.
//!
//! | in the text | becomes |
//! | --- | --- |
//! | the path of the home, and what is below the user's directory | `$LLMTOR_HOME`, `~/…` |
//! | any other path, but the system's own | `<path>` |
//! | names of the user, the machine and models, as whole words | `<user>`, `<machine>`, `<model>` |
//! | an e-mail address | `<e-mail>` |
//! | an address that is not this machine's, an onion service, the host of a URL and what stands behind it | `<address>`, `<onion>`, `<host>` |
//! | keys, ids, and whatever is long and looks drawn at random | `<key>`, `<id>`, `<random>` |
//!
//! It works on words and errs on the side of taking out: a report that says too little costs a question. What our
//! own messages hold they hold by the rule that no secret is in them; this is the second fence, not the first.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use url::{Host, Url};

/// Whether the hosts of the backend are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// They say which backend it is, and so something of its few users.
    Hidden,
    /// The user wants it so.
    Told,
}

/// What is to be taken out, beside what is recognised by its form.
pub struct Scrub {
    /// Each wherever it stands, the longest first, and what stands there instead.
    literal: Vec<(String, &'static str)>,
    /// Each as a whole word.
    names: Vec<(String, &'static str)>,
    /// The user's directory.
    directory: Option<String>,
    hosts: Hosts,
}

/// What stands around words and is no part of one.
const AROUND: &[char] = &['"', '\'', '`', '(', ')', '[', ']', '{', '}', '<', '>', ',', ';', '|', '='];
/// Where paths begin that are the same on every machine.
const SYSTEM: [&str; 7] = ["/usr/", "/etc/", "/opt/", "/lib/", "/proc/", "/v1/", "/api/"];
/// From this length on, letters mixed with digits are taken for something drawn at random.
const RANDOM: usize = 20;

impl Scrub {
    /// For a home in `home`, of a user whose directory is `directory`.
    pub fn new(home: &Path, directory: Option<&Path>, hosts: Hosts) -> Self {
        let directory = directory.map(|path| path.display().to_string()).filter(|path| path.len() > 1);
        let mut scrub = Self { literal: Vec::new(), names: Vec::new(), directory, hosts };
        scrub.replace(&home.display().to_string(), "$LLMTOR_HOME");
        if let Ok(real) = home.canonicalize() {
            scrub.replace(&real.display().to_string(), "$LLMTOR_HOME");
        }
        let base = directory_name(scrub.directory.as_deref());
        scrub.name(&base, "<user>");
        scrub
    }

    /// Takes a name out where it is a whole word.
    pub fn name(&mut self, name: &str, instead: &'static str) {
        // `root` is nobody's name, and shorter ones are in every text.
        if name.chars().count() > 1 && name != "root" {
            self.names.push((name.to_owned(), instead));
            self.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        }
    }

    /// Takes a host out, unless hosts are told.
    pub fn host(&mut self, url: &Url) {
        if let (Hosts::Hidden, Some(host)) = (self.hosts, url.host_str())
            && !is_here(url)
        {
            self.replace(host, "<host>");
        }
    }

    /// `text` without all that.
    pub fn text(&self, text: &str) -> String {
        text.lines().map(|line| self.line(line)).collect::<Vec<_>>().join("\n")
    }

    fn replace(&mut self, what: &str, instead: &'static str) {
        if what.len() > 1 {
            self.literal.push((what.to_owned(), instead));
            self.literal.sort_by_key(|(what, _)| std::cmp::Reverse(what.len()));
        }
    }

    /// URLs first, and whole: hosts, names and paths are in them.
    fn line(&self, line: &str) -> String {
        let Some(at) = line.find("://") else { return self.plain(line) };
        let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let begin = line[..at]
            .rfind(|c| !of_scheme(c))
            .map_or(0, |before| before + line[before..].chars().next().map_or(0, char::len_utf8));
        let is_behind = |c: char| c.is_whitespace() || "\"'`()<>{}|,;".contains(c);
        let end = line[at..].find(is_behind).map_or(line.len(), |end| at + end);
        self.plain(&line[..begin]) + &self.url(&line[begin..end]) + &self.line(&line[end..])
    }

    fn plain(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (what, instead) in &self.literal {
            line = line.replace(what, instead);
        }
        if let Some(directory) = &self.directory {
            line = without_directory(&line, directory);
        }
        let is_between = |c: char| c.is_whitespace() || AROUND.contains(&c);
        let mut scrubbed = String::new();
        let mut rest = line.as_str();
        while !rest.is_empty() {
            let word = rest.find(is_between).unwrap_or(rest.len());
            scrubbed.push_str(&self.word(&rest[..word]));
            let next = rest[word..].find(|c| !is_between(c)).map_or(rest.len(), |at| word + at);
            scrubbed.push_str(&rest[word..next]);
            rest = &rest[next..];
        }
        // Last: a name may be a part of what goes as a whole.
        self.names.iter().fold(scrubbed, |text, (name, instead)| without_name(&text, name, instead))
    }

    fn word(&self, whole: &str) -> String {
        let word = whole.trim_end_matches(['.', ':', '!', '?']);
        let instead = self.instead(word);
        match instead {
            Some(instead) => instead + &whole[word.len()..],
            None => whole.to_owned(),
        }
    }

    /// What stands for a word; `None` if it may stay.
    fn instead(&self, word: &str) -> Option<String> {
        if word.to_ascii_lowercase().contains(".onion") {
            return (self.hosts == Hosts::Hidden).then(|| "<onion>".into());
        }
        if word.contains('@') {
            return Some("<e-mail>".into());
        }
        let address =
            word.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| word.parse::<IpAddr>());
        if let Ok(address) = address {
            return (!address.is_loopback() && !address.is_unspecified()).then(|| "<address>".into());
        }
        let lower = word.to_ascii_lowercase();
        if ["sk-", "age1", "age-secret", "sessionid", "bearer"].iter().any(|start| lower.starts_with(start)) {
            return Some("<key>".into());
        }
        if uuid::Uuid::try_parse(word).is_ok() {
            return Some("<id>".into());
        }
        if is_path(word) {
            return Some("<path>".into());
        }
        is_random(word).then(|| "<random>".into())
    }

    fn url(&self, word: &str) -> String {
        match Url::parse(word) {
            Ok(url) if is_here(&url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{}{port}/…", url.scheme(), url.host_str().unwrap_or_default())
            }
            Ok(url) if self.hosts == Hosts::Told => {
                format!("{}://{}/…", url.scheme(), url.host_str().unwrap_or_default())
            }
            Ok(url) => format!("{}://<host>/…", url.scheme()),
            Err(_) => "<host>".into(),
        }
    }
}

/// Whether `url` leads to this machine. No name but `localhost` is asked about.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn directory_name(directory: Option<&str>) -> String {
    let name = directory.and_then(|path| path.rsplit(['/', '\\']).find(|part| !part.is_empty()));
    name.unwrap_or_default().to_owned()
}

/// What lies in the user's directory goes up to the next sign that ends it: names of files may have spaces in them.
fn without_directory(line: &str, directory: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(directory) {
        kept.push_str(&rest[..at]);
        kept.push_str("~/…");
        let behind = &rest[at + directory.len()..];
        let end = behind.find(['"', '\'', '`', ')', ';', ',', ':']).unwrap_or(behind.len());
        rest = &behind[end..];
    }
    kept + rest
}

/// Without regard to case, and where no letter or digit stands beside it.
fn without_name(line: &str, name: &str, instead: &str) -> String {
    // Lower case may have another length; then only the name as it is written is looked for.
    let lower = line.to_lowercase();
    let (lower, name) = if lower.len() == line.len() {
        (lower, name.to_lowercase())
    } else {
        (line.to_owned(), name.to_owned())
    };
    let mut kept = String::new();
    let mut from = 0;
    for (at, _) in lower.match_indices(&name) {
        let end = at + name.len();
        if at < from || !line.is_char_boundary(at) || !line.is_char_boundary(end) {
            continue;
        }
        let free = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        if free(line[..at].chars().next_back()) && free(line[end..].chars().next()) {
            kept.push_str(&line[from..at]);
            kept.push_str(instead);
            from = end;
        }
    }
    kept + &line[from..]
}

fn is_path(word: &str) -> bool {
    let word = word.trim_start_matches(':');
    if word.starts_with("~/") || word.starts_with("$LLMTOR_HOME") || word.starts_with("HTTP/") {
        return false;
    }
    let of_system = SYSTEM.iter().any(|start| word.starts_with(start)) && !word.contains("/..");
    let has_parts = word.contains('/') && word.split('/').any(|part| part.chars().any(char::is_alphabetic));
    has_parts && !of_system || word.contains('\\')
}

/// Long, and letters and digits in it are mixed as no word's are.
fn is_random(word: &str) -> bool {
    let of_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-');
    word.split(|c| !of_code(c)).any(|run| {
        run.len() >= RANDOM
            && run.chars().any(|c| c.is_ascii_digit())
            && run.chars().any(|c| c.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrub() -> Scrub {
        let home = Path::new("/home/alice/.local/share/llmtor");
        let mut scrub = Scrub::new(home, Some(Path::new("/home/alice")), Hosts::Hidden);
        scrub.name("heron-7", "<machine>");
        scrub.host(&Url::parse("https://api.backend.example").unwrap());
        scrub
    }

    #[test]
    fn what_tells_who_somebody_is_goes_and_what_helps_stays() {
        for (text, expected) in [
            ("/home/alice/.local/share/llmtor/vault.db is full", "$LLMTOR_HOME/vault.db is full"),
            ("read /home/alice/Smith case/notes.md: gone", "read ~/…: gone"),
            ("Alice on HERON-7 (alice)", "<user> on <machine> (<user>)"),
            ("malice and alices stay", "malice and alices stay"),
            ("https://api.backend.example/v1?x=1 refused", "https://<host>/… refused"),
            ("api.backend.example:443 refused", "<host>:443 refused"),
            ("http://127.0.0.1:8787/v1 answers", "http://127.0.0.1:8787/… answers"),
            ("at 127.0.0.1:8787 and [::1]:8787", "at 127.0.0.1:8787 and [::1]:8787"),
            ("192.0.2.7:443, 2001:db8::1", "<address>, <address>"),
            ("expyuzz4wqqyqhjn.onion:80", "<onion>"),
            ("write to alice@example.org.", "write to <e-mail>."),
            ("key sk-llmtor-abc", "key <key>"),
            ("id 01234567-89ab-cdef-0123-456789abcdef.", "id <id>."),
            ("/srv/cases/smith and C:\\Users\\bob\\x", "<path> and <path>"),
            ("/usr/bin/obfs4proxy, HTTP/1.1, gpt-4.1-mini", "/usr/bin/obfs4proxy, HTTP/1.1, gpt-4.1-mini"),
            ("llmtor::anonymous::transport: 42 % done", "llmtor::anonymous::transport: 42 % done"),
            ("2026-11-26T04:21:13Z  WARN llmtor: one", "2026-11-26T04:21:13Z  WARN llmtor: one"),
            ("sha 3fa9c01b3fa9c01b3fa9c01b3fa9", "sha <random>"),
        ] {
            assert_eq!(scrub().text(text), expected);
        }
    }

    #[test]
    fn hosts_are_told_to_whoever_wants_it() {
        let mut scrub = Scrub::new(Path::new("/h"), None, Hosts::Told);
        scrub.host(&Url::parse("https://api.backend.example").unwrap());
        assert_eq!(scrub.text("https://api.backend.example/secret"), "https://api.backend.example/…");
    }

    proptest! {
        #[test]
        fn nothing_of_this_kind_is_left_wherever_it_stands(
            before in "[a-z ]{0,12}[ (\"'=]",
            after in "[ )\"',;.:][a-z ]{0,12}",
            bytes in proptest::collection::vec(any::<u8>(), 36),
            word in "[b-z]{6,12}",
        ) {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
            let random = encoded.chars().any(|c| c.is_ascii_digit());
            let mut secrets = vec![
                format!("sk-llmtor-{word}"),
                format!("{word}@{word}.example"),
                format!("/srv/{word}/{word}"),
                format!("https://{word}.example/{word}"),
                format!("/home/alice/{word}/{word} {word}"),
                format!("{word}{word}{word}{word}.onion"),
            ];
            if random && !encoded.contains('=') {
                secrets.push(encoded.clone());
            }
            for secret in secrets {
                let scrubbed = scrub().text(&format!("{before}{secret}{after}"));
                prop_assert!(!scrubbed.contains(&secret), "{}", scrubbed);
                let told = [&before, &after].iter().any(|text| text.contains(&word));
                prop_assert!(told || !scrubbed.contains(&word), "{} of {}", scrubbed, secret);
            }
        }

        #[test]
        fn any_text_goes_through(text in "\\PC{0,80}") {
            let _ = scrub().text(&text);
        }
    }
}
