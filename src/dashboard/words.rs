//! Numbers and names as they are shown.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::desk::{Company, Ending, Sending, Way};

/// What a state means for whoever looks at it; decides the colour, never alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Waiting,
    Attention,
    Bad,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::Bad => "bad",
        }
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A moment; the script turns it into the visitor's own time.
pub(super) fn moment(unix: i64) -> Markup {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(unix) else { return html! { "?" } };
    let stamp = at.format(&Rfc3339).unwrap_or_default();
    let shown = format!("{} {:02}:{:02}:{:02} UTC", at.date(), at.hour(), at.minute(), at.second());
    html! { time datetime=(stamp) { (shown) } }
}

/// A duration, about.
pub(super) fn duration(took: Duration) -> String {
    match took.as_secs_f64() {
        seconds if seconds < 0.95 => format!("{} ms", took.as_millis()),
        seconds if seconds < 60.0 => format!("{seconds:.1} s"),
        _ => format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60),
    }
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A count of bytes, exact where it is a whole number of kibibytes.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
        _ => format!("{} B", number(bytes)),
    }
}

/// How a call ended: a word, what it means, and its tone.
pub(super) fn ending(ending: Ending) -> (&'static str, &'static str, Tone) {
    match ending {
        Ending::Answered => ("answered", "The answer came; its token is spent.", Tone::Good),
        Ending::Shared => (
            "shared",
            "An identical call was under way or just answered. Nothing left for this one.",
            Tone::Good,
        ),
        Ending::Blocked => {
            ("blocked", "The backend's moderation refused the messages; the token is spent.", Tone::Attention)
        }
        Ending::ProviderFailed => (
            "provider failed",
            "The model's provider failed or sent nonsense; the token is spent.",
            Tone::Bad,
        ),
        Ending::InDoubt => (
            "in doubt",
            "No answer came. The token is kept for this very request: asking it again costs nothing.",
            Tone::Attention,
        ),
        Ending::NoToken => ("no token", "There was no usable token. Nothing left.", Tone::Attention),
        Ending::NoWayOut => ("no way out", "No connection could be opened. Nothing was spent.", Tone::Bad),
        Ending::Refused => ("refused", "Refused before anything was spent.", Tone::Attention),
    }
}

/// The way out, in a word or two.
pub(super) fn way(way: Way) -> &'static str {
    match way {
        Way::Tor => "Tor, built in",
        Way::Socks => "Tor, beside (SOCKS)",
        Way::Loopback => "this machine only",
    }
}

/// Who shares the circuit, in a few words.
pub(super) fn company(sending: &Sending) -> &'static str {
    match (sending.way, sending.company) {
        (Way::Loopback, _) => "a connection of its own",
        (_, Company::Nobody) => "a circuit of its own",
        (_, Company::Conversation) => "with its conversation",
        (_, Company::Anybody) => "shared with all calls",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_do() {
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!([number(0), number(999)], ["0", "999"]);
        assert_eq!([size(4096), size(12), size(250_000)], ["4 KiB", "12 B", "250\u{202f}000 B"]);
        assert_eq!(duration(Duration::from_millis(120)), "120 ms");
        assert_eq!(duration(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        let shown = moment(1_790_000_000).into_string();
        assert_eq!(shown, r#"<time datetime="2026-09-21T14:13:20Z">2026-09-21 14:13:20 UTC</time>"#);
    }
}
