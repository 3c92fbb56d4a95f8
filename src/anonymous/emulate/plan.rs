//! From what a client wants to what the backend can do: messages for the call, and how its answer is to be heard.
//!
//! | the client has | the backend hears |
//! | --- | --- |
//! | system turns at the beginning | one `system` message: their texts, then the form of the answer, then the tools |
//! | a system turn later on | OpenAI's models: the same, in its place; others: a `user` message marked as the system's, because theirs would move to the front |
//! | nothing but system turns, for a model that is not OpenAI's | the last one is said by the user: such a model wants to be asked something |
//! | everything else | as [`roles`] has it |
//!
//! Invariant: the same request makes the same bytes.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::ask::Ask;
use super::conversation::{Part, Said, Turn};
use super::hearing::Reading;
use super::roles::{self, NothingSaid};
use super::tokens::Family;
use super::{format, tools};

/// How a call is made and its answer heard. No `Debug`: it holds the prompt.
pub struct Plan {
    /// The messages array of protocol.md §4, as it is digested and sent.
    pub messages: Box<RawValue>,
    /// How the answer is to be heard.
    pub reading: Reading,
}

/// Plans `ask` for a model of `family`.
pub fn plan(ask: Ask, family: Family) -> Result<Plan, NothingSaid> {
    let Ask { mut turns, tools: toolset, format, stop, most_tokens } = ask;
    // Before anything is arranged: what says nothing is not in the way of what does.
    turns.retain(Turn::says_something);
    if turns.is_empty() {
        return Err(NothingSaid);
    }
    let blocks = [format::instructions(&format, &toolset), tools::block(&toolset, &format)];
    let turns = arranged(turns, blocks.into_iter().flatten(), family);
    let messages = roles::canonical(turns)?;
    let seed = Sha256::digest(messages.get().as_bytes()).into();
    Ok(Plan { messages, reading: Reading { toolset, format, stop, most_tokens, family, seed } })
}

/// `messages`, and what was said since.
pub fn continued(messages: &RawValue, turns: [Turn; 2]) -> Result<Box<RawValue>, NothingSaid> {
    let more = roles::canonical(turns.into())?;
    // Both are arrays with something in them, written here.
    let (Some(before), Some(after)) = (messages.get().strip_suffix(']'), more.get().strip_prefix('[')) else {
        return Err(NothingSaid);
    };
    RawValue::from_string(format!("{before},{after}")).map_err(|_| NothingSaid)
}

/// System turns as the table above has them, with `blocks` behind the first.
fn arranged(turns: Vec<Turn>, blocks: impl Iterator<Item = String>, family: Family) -> Vec<Turn> {
    let mut arranged = Vec::with_capacity(turns.len() + 1);
    let mut leading: Vec<Said> = Vec::new();
    let mut rest = turns.into_iter().peekable();
    while let Some(Turn::System(said)) = rest.next_if(|turn| matches!(turn, Turn::System(_))) {
        leading.push(said);
    }
    let takes_system_alone = matches!(family, Family::OpenAi | Family::OpenAiBefore);
    let asked = if rest.peek().is_none() && !takes_system_alone { leading.pop() } else { None };
    let mut system = merged(leading);
    for block in blocks {
        append(&mut system, block);
    }
    if !system.parts.is_empty() {
        arranged.push(Turn::System(system));
    }
    arranged.extend(asked.map(Turn::User));
    arranged.extend(rest.map(|turn| match turn {
        Turn::System(said) if !takes_system_alone => Turn::User(marked(said)),
        other => other,
    }));
    arranged
}

/// One turn of several, in order; a single one stays as it is.
fn merged(mut leading: Vec<Said>) -> Said {
    if leading.len() == 1 {
        return leading.pop().unwrap_or_default();
    }
    let mut system = Said::default();
    for said in leading {
        for part in roles::named(said) {
            match part {
                Part::Text(text) => append(&mut system, text),
                image @ (Part::Image(_) | Part::Remote(_)) => system.parts.push(image),
            }
        }
    }
    system
}

/// Adds a paragraph.
fn append(system: &mut Said, text: String) {
    match system.parts.last_mut() {
        Some(Part::Text(last)) if last.is_empty() => *last = text,
        Some(Part::Text(last)) => {
            last.push_str("\n\n");
            last.push_str(&text);
        }
        _ => system.parts.push(Part::Text(text)),
    }
}

/// Instructions that came in the middle, for models whose instructions all stand at the front.
fn marked(said: Said) -> Said {
    let mut parts = roles::named(said);
    if parts.is_empty() {
        return Said::default();
    }
    match parts.first_mut() {
        Some(Part::Text(text)) => text.insert_str(0, "<system>\n"),
        _ => parts.insert(0, Part::Text("<system>".into())),
    }
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push_str("\n</system>"),
        _ => parts.push(Part::Text("</system>".into())),
    }
    Said { name: None, parts }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(text: &str) -> Said {
        Said { name: None, parts: vec![Part::Text(text.into())] }
    }

    fn planned(turns: Vec<Turn>, family: Family) -> Value {
        let Ok(plan) = plan(Ask { turns, ..Ask::default() }, family) else { panic!("nothing said") };
        serde_json::from_str(plan.messages.get()).unwrap()
    }

    #[test]
    fn instructions_at_the_beginning_become_one_message() {
        let turns = || vec![Turn::System(said("a")), Turn::System(said("b")), Turn::User(said("hi"))];
        for family in [Family::OpenAi, Family::Gemini] {
            assert_eq!(
                planned(turns(), family),
                json!([{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "hi"}])
            );
        }
    }

    #[test]
    fn instructions_in_the_middle_stay_there_whatever_the_model_does_with_its_own() {
        let turns = || vec![Turn::User(said("hi")), Turn::System(said("be brief")), Turn::User(said("so?"))];
        assert_eq!(planned(turns(), Family::OpenAi)[1], json!({"role": "system", "content": "be brief"}));
        for family in [Family::Gemini, Family::Other] {
            let messages = planned(turns(), family);
            assert_eq!(messages[1], json!({"role": "user", "content": "<system>\nbe brief\n</system>"}));
            assert_eq!(messages[2]["content"], "so?");
        }
    }

    #[test]
    fn instructions_alone_are_a_question_to_models_that_want_one() {
        let turns = || vec![Turn::System(said("a")), Turn::System(said("say hi"))];
        assert_eq!(planned(turns(), Family::OpenAi), json!([{"role": "system", "content": "a\n\nsay hi"}]));
        assert_eq!(
            planned(turns(), Family::Gemini),
            json!([{"role": "system", "content": "a"}, {"role": "user", "content": "say hi"}])
        );
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let hi = || Turn::System(said("say hi"));
        let silent = || Turn::Assistant { said: said(""), calls: Vec::new() };
        for turns in [
            vec![hi(), Turn::User(said(""))],
            vec![hi(), Turn::System(said(""))],
            vec![hi(), silent(), Turn::User(Said::default())],
            vec![Turn::System(said("")), hi()],
        ] {
            assert_eq!(planned(turns, Family::Gemini), json!([{"role": "user", "content": "say hi"}]));
        }
        let turns =
            || vec![Turn::User(said("hi")), Turn::System(said("")), silent(), Turn::User(said("so?"))];
        for family in [Family::OpenAi, Family::Other] {
            let [hi, so] = ["hi", "so?"].map(|text| json!({"role": "user", "content": text}));
            assert_eq!(planned(turns(), family), json!([hi, so]));
        }
    }

    #[test]
    fn nothing_said_is_refused_whatever_tools_there_are() {
        assert!(plan(Ask { turns: vec![Turn::User(said(""))], ..Ask::default() }, Family::Other).is_err());
    }
}
