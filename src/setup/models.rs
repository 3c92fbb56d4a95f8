//! Which model a tool is pointed at: one for the work, and the cheapest for titles and summaries.
//!
//! | | taken from | the first by |
//! | --- | --- | --- |
//! | main | models of which tokens are held, or all if there are none | size, largest first; most tokens; newest version; name |
//! | small | the same | size, smallest first; most tokens; name |
//!
//! A price list is nowhere on this machine; sizes are told by the names that makers give: `lite` and `nano` below `mini` and
//! `flash`, these below the rest.

use std::cmp::Reverse;

use crate::wire::ModelName;

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its id.
    pub name: ModelName,
    /// Tokens held for it.
    pub held: u64,
}

/// What a tool is pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// For the work.
    pub main: ModelName,
    /// For titles, summaries and the like.
    pub small: ModelName,
}

/// How large, by the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// `lite`, `nano`.
    Lite,
    /// `mini`, `flash`, `small`.
    Small,
    /// Anything else.
    Full,
}

impl Size {
    /// Of a model of that name.
    pub fn of(name: &ModelName) -> Self {
        let name = name.as_str().to_lowercase();
        let says = |words: &[&str]| name.split(['-', '_', ':', '/']).any(|part| words.contains(&part));
        if says(&["lite", "nano"]) {
            Self::Lite
        } else if says(&["mini", "flash", "small"]) {
            Self::Small
        } else {
            Self::Full
        }
    }
}

/// The choice among `models`, `wanted` or `earlier` before the rule; `None` if there are none.
pub fn choose(models: &[Model], wanted: Option<&ModelName>, earlier: Option<&Choice>) -> Option<Choice> {
    let any_held = models.iter().any(|model| model.held > 0);
    let candidates = || models.iter().filter(move |model| model.held > 0 || !any_held);
    let known = |name: &ModelName| models.iter().any(|model| model.name == *name);
    let kept = |name: fn(&Choice) -> &ModelName| earlier.map(name).filter(|name| known(name)).cloned();
    let best = || {
        candidates().max_by_key(|model| {
            (Size::of(&model.name), model.held, version(&model.name), Reverse(&model.name))
        })
    };
    let cheapest =
        || candidates().min_by_key(|model| (Size::of(&model.name), Reverse(model.held), &model.name));
    let main =
        wanted.cloned().or_else(|| kept(|choice| &choice.main)).or_else(|| Some(best()?.name.clone()))?;
    let small = kept(|choice| &choice.small).or_else(|| Some(cheapest()?.name.clone()))?;
    Some(Choice { main, small })
}

/// The first number in a name, in hundredths: `gpt-4.1` is 410.
fn version(name: &ModelName) -> u64 {
    let text: String = name
        .as_str()
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let part: String = part.chars().chain("00".chars()).take(2).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    number(whole).saturating_mul(100).saturating_add(number(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ModelName {
        ModelName::new(text).unwrap()
    }

    fn models(list: &[(&str, u64)]) -> Vec<Model> {
        list.iter().map(|(text, held)| Model { name: name(text), held: *held }).collect()
    }

    fn chosen(list: &[(&str, u64)]) -> (String, String) {
        let choice = choose(&models(list), None, None).unwrap();
        (choice.main.to_string(), choice.small.to_string())
    }

    #[test]
    fn sizes_are_told_by_the_name() {
        for (text, size) in [
            ("gemini-2.5-flash-lite", Size::Lite),
            ("gpt-5-mini", Size::Small),
            ("gemini-3-flash-preview", Size::Small),
            ("gpt-4.1", Size::Full),
            ("gemini-2.5-pro", Size::Full),
            ("minimax-m2", Size::Full),
        ] {
            assert_eq!(Size::of(&name(text)), size, "{text}");
        }
    }

    #[test]
    fn the_main_model_is_a_large_one_that_is_held_and_the_small_one_the_cheapest() {
        let all =
            [("gemini-2.5-flash", 0), ("gemini-2.5-flash-lite", 0), ("gpt-4.1", 0), ("gpt-5.3-chat", 0)];
        assert_eq!(chosen(&all), ("gpt-5.3-chat".into(), "gemini-2.5-flash-lite".into()));
        let some = [("gemini-2.5-flash-lite", 0), ("gpt-4.1", 40), ("gpt-4.1-mini", 3), ("gpt-5.3-chat", 9)];
        assert_eq!(chosen(&some), ("gpt-4.1".into(), "gpt-4.1-mini".into()));
        assert_eq!(chosen(&[("gpt-5-mini", 1), ("o1", 0)]), ("gpt-5-mini".into(), "gpt-5-mini".into()));
        assert_eq!(choose(&[], None, None), None);
    }

    #[test]
    fn what_was_chosen_stays_while_it_is_there_and_what_is_wanted_comes_first() {
        let models = models(&[("gpt-4.1", 5), ("gpt-5-mini", 5), ("o1", 0)]);
        let earlier = Choice { main: name("o1"), small: name("gone") };
        let again = choose(&models, None, Some(&earlier)).unwrap();
        assert_eq!(again, Choice { main: name("o1"), small: name("gpt-5-mini") });
        let wanted = choose(&models, Some(&name("gpt-4.1")), Some(&earlier)).unwrap();
        assert_eq!(wanted.main, name("gpt-4.1"));
    }
}
