//! Which tools are on offer, and which of them a name means.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::super::ask::{Choice, Input, Need, Parallel, Tool, Toolset};
use super::super::schema::Judge;

/// The tools that the model is shown, and may call.
pub struct Offer<'a> {
    tools: Vec<&'a Tool>,
    named: HashMap<&'a str, usize>,
    /// Of each tool, once it was called; empty where its schema cannot be used, which then forbids nothing.
    judges: Vec<OnceCell<Option<Judge>>>,
    /// Whether there must be a call.
    pub need: Need,
    /// Whether there may be several.
    pub parallel: Parallel,
}

impl<'a> Offer<'a> {
    /// What `toolset` comes to; `None` if that is nothing.
    pub fn of(toolset: &'a Toolset) -> Option<Self> {
        let (need, shown): (Need, Option<&[String]>) = match &toolset.choice {
            Choice::None => return None,
            Choice::Auto => (Need::Optional, None),
            Choice::Required => (Need::Required, None),
            Choice::Named(name) => (Need::Required, Some(std::slice::from_ref(name))),
            Choice::Allowed { names, need } => (*need, Some(names)),
        };
        let is_shown = |tool: &&Tool| shown.is_none_or(|names| names.contains(&tool.name));
        let tools: Vec<&Tool> = toolset.tools.iter().filter(is_shown).collect();
        if tools.is_empty() {
            return None;
        }
        let named = tools.iter().enumerate().map(|(index, tool)| (tool.name.as_str(), index)).collect();
        let judges = tools.iter().map(|_| OnceCell::new()).collect();
        Some(Self { tools, named, judges, need, parallel: toolset.parallel })
    }

    /// In the client's order.
    pub fn tools(&self) -> &[&'a Tool] {
        &self.tools
    }

    /// The tool that is meant by a name as models write it: the name itself, or the one tool that it can mean once
    /// prefixes (`functions.`), a trailing number (`:0`) and the spelling of separators and capitals are left aside.
    pub fn resolve(&self, written: &str) -> Option<&'a Tool> {
        if let Some(index) = self.named.get(written) {
            return Some(self.tools[*index]);
        }
        let written = written.trim();
        let written = match written.rsplit_once(':') {
            Some((name, number)) if !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()) => name,
            _ => written,
        };
        let plain = fold(written);
        let last = plain.rsplit(['.', ':', '/']).next().unwrap_or_default();
        if last.is_empty() {
            return None;
        }
        self.only(|name| name == plain)
            .or_else(|| self.only(|name| name == last))
            .or_else(|| self.only(|name| is_suffix(name, last)))
    }

    /// Who judges the arguments of `tool`, if there is something to judge.
    pub(super) fn judge(&self, tool: &Tool) -> Option<&Judge> {
        let Input::Json { schema: Some(schema) } = &tool.input else { return None };
        let judge = self.judges.get(*self.named.get(tool.name.as_str())?)?;
        judge.get_or_init(|| Judge::new(schema).ok()).as_ref()
    }

    fn only(&self, fits: impl Fn(&str) -> bool) -> Option<&'a Tool> {
        let mut fitting = self.tools.iter().filter(|tool| fits(&fold(&tool.name)));
        let first = fitting.next()?;
        fitting.next().is_none().then_some(*first)
    }
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace(['-', ' '], "_")
}

/// Whether `name` is `last` behind a separator, as in `mcp__server__read` and `read`.
fn is_suffix(name: &str, last: &str) -> bool {
    name.strip_suffix(last).is_some_and(|before| before.ends_with(['_', '.', ':', '/']))
}

#[cfg(test)]
mod tests {
    use super::super::super::ask::Input;
    use super::*;

    fn toolset(names: &[&str]) -> Toolset {
        let tool = |name: &&str| Tool {
            name: (*name).to_owned(),
            description: None,
            input: Input::Json { schema: None },
        };
        Toolset { tools: names.iter().map(tool).collect(), ..Toolset::default() }
    }

    #[test]
    fn a_name_is_resolved_only_where_it_can_mean_one_tool() {
        let toolset =
            toolset(&["get_weather", "mcp__files__read", "mcp__web__read", "mcp__files__write", "Edit"]);
        let offer = Offer::of(&toolset).unwrap();
        let cases = [
            ("get_weather", Some("get_weather")),
            ("functions.get_weather", Some("get_weather")),
            ("functions.get_weather:0", Some("get_weather")),
            ("default_api.get_weather", Some("get_weather")),
            ("get-weather", Some("get_weather")),
            ("GET_WEATHER", Some("get_weather")),
            ("edit", Some("Edit")),
            ("write", Some("mcp__files__write")),
            ("files.write", Some("mcp__files__write")),
            ("read", None),
            ("weather_get", None),
            ("eather", None),
            ("", None),
            ("functions.", None),
        ];
        for (written, expected) in cases {
            assert_eq!(offer.resolve(written).map(|tool| tool.name.as_str()), expected, "{written}");
        }
    }

    #[test]
    fn only_what_the_choice_allows_is_on_offer() {
        let mut toolset = toolset(&["a", "b", "c"]);
        let mut offered = |choice: Choice| {
            toolset.choice = choice;
            Offer::of(&toolset)
                .map(|offer| offer.tools().iter().map(|tool| tool.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(offered(Choice::None), None);
        assert_eq!(offered(Choice::Named("b".into())).unwrap(), ["b"]);
        assert_eq!(offered(Choice::Named("z".into())), None);
        let names = vec!["c".into(), "a".into()];
        assert_eq!(offered(Choice::Allowed { names, need: Need::Optional }).unwrap(), ["a", "c"]);
    }
}
