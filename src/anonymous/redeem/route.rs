//! Which ways a call has tried, and which conversation it belongs to.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::CryptoRng;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

use super::Prompt;
use crate::anonymous::transport::{Conversation, Exit, Wish};

/// So many exits show a certificate that is not accepted: then it is not the exits.
const WITNESSES: u32 = 2;
/// The same where exits cannot be told apart.
const BLIND_WITNESSES: u32 = 3;

/// The way of one call: which exits failed it.
pub(super) struct Route {
    wish: Wish,
    distrusted: u32,
    unseen: u32,
}

impl Route {
    pub(super) fn new(conversation: Option<Conversation>) -> Self {
        Self { wish: Wish { avoid: Vec::new(), conversation }, distrusted: 0, unseen: 0 }
    }

    /// For the next stream.
    pub(super) fn wish(&self) -> Wish {
        self.wish.clone()
    }

    /// An attempt failed there.
    pub(super) fn failed(&mut self, exit: Option<Exit>) {
        if let Some(exit) = exit
            && !self.wish.avoid.contains(&exit)
        {
            self.wish.avoid.push(exit);
        }
    }

    /// The certificate shown there is not accepted.
    pub(super) fn distrust(&mut self, exit: Option<Exit>) {
        match exit {
            Some(exit) if !self.wish.avoid.contains(&exit) => self.distrusted += 1,
            Some(_) => {}
            None => self.unseen += 1,
        }
        self.failed(exit);
    }

    /// Whether it is the certificate, and not the exits.
    pub(super) fn distrusts(&self) -> bool {
        self.distrusted >= WITNESSES || self.unseen >= BLIND_WITNESSES
    }
}

/// Tells conversations apart, under a key that dies with the process.
pub(super) struct Conversations {
    key: [u8; 32],
}

#[derive(Deserialize)]
struct Turn<'a> {
    role: &'a str,
}

impl Conversations {
    pub(super) fn new(rng: &mut impl CryptoRng) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self { key }
    }

    /// A client sends the whole history each time: what stays the same is the model and everything up to the first
    /// word of the user. `None` where no user speaks.
    pub(super) fn of(&self, prompt: &Prompt) -> Option<Conversation> {
        let turns: Vec<&RawValue> = serde_json::from_str(prompt.messages.get()).ok()?;
        let is_user = |turn: &&RawValue| {
            serde_json::from_str::<Turn<'_>>(turn.get()).is_ok_and(|turn| turn.role == "user")
        };
        let first = turns.iter().position(is_user)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(prompt.model.as_str().as_bytes());
        for turn in &turns[..=first] {
            mac.update(&(turn.get().len() as u64).to_be_bytes());
            mac.update(turn.get().as_bytes());
        }
        let digest = mac.finalize().into_bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Some(Conversation(short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ModelName;

    fn prompt(messages: &serde_json::Value) -> Prompt {
        Prompt {
            model: ModelName::new("gpt-4.1").unwrap(),
            messages: RawValue::from_string(messages.to_string()).unwrap(),
        }
    }

    #[test]
    fn a_conversation_is_known_by_how_it_begins() {
        let conversations = Conversations::new(&mut rand::rng());
        let of = |messages| conversations.of(&prompt(&messages));
        let say = |role: &str, text: &str| serde_json::json!({"role": role, "content": text});
        let begin = of(serde_json::json!([say("system", "be brief"), say("user", "one")]));
        let later = of(serde_json::json!([
            say("system", "be brief"),
            say("user", "one"),
            say("assistant", "1"),
            say("user", "two")
        ]));
        assert!(begin.is_some());
        assert_eq!(begin, later);
        assert_ne!(begin, of(serde_json::json!([say("system", "be brief"), say("user", "two")])));
        assert_ne!(begin, of(serde_json::json!([say("user", "one")])));
        assert_eq!(of(serde_json::json!([say("system", "be brief")])), None);
        let another = Conversations::new(&mut rand::rng());
        assert_ne!(
            begin,
            another.of(&prompt(&serde_json::json!([say("system", "be brief"), say("user", "one")])))
        );
    }

    #[test]
    fn two_exits_that_show_the_same_are_believed_and_one_is_not() {
        let mut route = Route::new(None);
        route.distrust(Some(Exit::new([1; 32])));
        route.distrust(Some(Exit::new([1; 32])));
        assert!(!route.distrusts());
        route.distrust(Some(Exit::new([2; 32])));
        assert!(route.distrusts());
        assert_eq!(route.wish().avoid.len(), 2);
        let mut blind = Route::new(None);
        for expected in [false, false, true] {
            blind.distrust(None);
            assert_eq!(blind.distrusts(), expected);
        }
    }
}
