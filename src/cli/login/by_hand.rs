//! The session, as the user brings it.

use std::io::{IsTerminal as _, Read as _};

use crate::app::sign_in;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::typed;
use crate::config::{Config, IdentityTransport};
use crate::control::message::SecretText;
use crate::secret::Secret;

/// More than any session is long.
const LIMIT: u64 = 16 * 1024;

/// All of standard input.
pub(super) fn from_stdin(output: Output) -> Result<SecretText, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output.remark("Paste the session (the value of the cookie sessionID), then Enter and Ctrl-D:");
    }
    let mut text = Vec::with_capacity(256);
    stdin.lock().take(LIMIT).read_to_end(&mut text).map_err(|error| {
        Failure::new(Exit::Failed, format!("standard input cannot be read: {error}"))
            .advise("give the session by a pipe or a file: llmtor login --session-stdin < FILE")
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        drop(Secret::new(error.into_bytes()));
        Failure::new(Exit::Usage, "the session on standard input is not text")
            .advise("it is the value of the cookie sessionID; `llmtor login --paste` shows where it is found")
    })?;
    Ok(SecretText(Secret::new(text)))
}

/// Step by step; what is pasted is not shown.
pub(super) async fn guided(output: Output, config: &Config) -> Result<SecretText, Failure> {
    let (sign_in, account) = sign_in::pages(config)?;
    output.remark(&guide(&sign_in, &account, config.identity.transport));
    if !std::io::stdin().is_terminal() {
        return from_stdin(output);
    }
    let unreadable = |error| {
        Failure::new(Exit::Failed, format!("the terminal cannot be read: {error}"))
            .advise("give the session by a pipe or a file: llmtor login --session-stdin < FILE")
    };
    Ok(SecretText(typed::unseen("Session (not shown): ", unreadable).await?))
}

/// Where the account goes through Tor, the user's own browser would undo that.
fn guide(sign_in: &str, account: &str, transport: IdentityTransport) -> String {
    let (browser, cookies) = match transport {
        IdentityTransport::Direct => (
            "your browser",
            "     Firefox:       press Shift+F9, then Storage > Cookies
     Chrome, Edge:  press F12, then Application > Storage > Cookies
     Safari:        Settings > Advanced > Show features for web developers; then Develop > Show Web Inspector >
                    Storage > Cookies",
        ),
        IdentityTransport::Tor => (
            "Tor Browser, never in your usual one, which would show your address,",
            "     Tor Browser:   press Shift+F9, then Storage > Cookies",
        ),
    };
    format!(
        "\
1. Open this address in {browser} and sign in:
     {sign_in}
   At the end the browser says that it cannot open a page at 127.0.0.1:5139. That is as it should be.
2. In the same browser, open:
     {account}
   It shows your account.
3. While that page is open, look at its cookies:
{cookies}
4. Copy the value of the cookie sessionID, paste it here, and press Enter. Whoever has it is signed in as you: paste it
   nowhere else."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_names_both_pages_the_cookie_and_each_browser() {
        let text = guide("https://b.example/signin", "https://b.example/me", IdentityTransport::Direct);
        for words in
            ["https://b.example/signin", "https://b.example/me", "sessionID", "Firefox", "Chrome", "Safari"]
        {
            assert!(text.contains(words), "{words}");
        }
    }

    #[test]
    fn where_the_account_goes_through_tor_so_does_the_browser_of_the_guide() {
        let text = guide("https://b.example/signin", "https://b.example/me", IdentityTransport::Tor);
        assert!(text.contains("Open this address in Tor Browser") && text.contains("Tor Browser:"), "{text}");
        for other in ["in your browser", "Chrome", "Safari"] {
            assert!(!text.contains(other), "{other} is in {text}");
        }
    }
}
