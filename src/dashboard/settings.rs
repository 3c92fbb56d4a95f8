//! Settings: the few that matter to most, with what each gives and costs. All others are in the configuration file.

use maud::{Markup, html};

use super::access::Admitted;
use super::desk::Setting;

/// One value of a setting.
struct Choice {
    value: &'static str,
    name: &'static str,
    meaning: &'static str,
}

/// A setting of the page.
struct Topic {
    key: &'static str,
    title: &'static str,
    about: &'static str,
    choices: &'static [Choice],
}

const fn choice(value: &'static str, name: &'static str, meaning: &'static str) -> Choice {
    Choice { value, name, meaning }
}

/// The settings that the page shows. The numbers of the first are those of docs/linking-game.md.
const TOPICS: &[Topic] = &[
    Topic {
        key: "privacy",
        title: "How many tokens are kept in stock",
        about: "The backend sees when an account gets tokens and when tokens are spent. The more lie in stock, the less the one \
                tells of the other. Numbers: how many of a hundred users a backend that tries hard can name after a month of \
                chat with one model. Heavy users are named first.",
        choices: &[
            choice("frugal", "Frugal", "Begins with 300 tokens a model. About 14 of a hundred can be named."),
            choice(
                "balanced",
                "Balanced",
                "Begins with 800 tokens a model. About 10 of a hundred can be named.",
            ),
            choice(
                "strong",
                "Strong",
                "Begins with 3000 tokens a model. About 4 of a hundred can be named. In the first month about five tokens lie \
                 unspent for each one used.",
            ),
        ],
    },
    Topic {
        key: "anonymous.isolation",
        title: "Which calls share a Tor circuit",
        about: "What shares a circuit is seen to belong together, by the exit and by the backend.",
        choices: &[
            choice(
                "per-call",
                "None",
                "Each call has a circuit of its own. Nothing but their content ties two calls.",
            ),
            choice(
                "per-conversation",
                "Those of a conversation",
                "Saves the building of circuits. Shows which calls are of one conversation.",
            ),
            choice("shared", "All", "Shows that all calls come from one user."),
        ],
    },
    Topic {
        key: "identity.transport",
        title: "How the account is reached",
        about: "Signing in and getting tokens, which know your account in any case.",
        choices: &[
            choice("direct", "Directly", "Faster. The backend sees your address beside your account."),
            choice(
                "tor",
                "Through Tor",
                "The backend knows your account all the same, but not where you are.",
            ),
        ],
    },
    Topic {
        key: "topup.enabled",
        title: "Tokens by themselves",
        about: "Whether llmtor gets tokens at random times, whatever you do.",
        choices: &[
            choice("true", "Yes", "Getting tokens has nothing to do with your calls."),
            choice("false", "No", "Only when you ask for them, which ties getting and spending in time."),
        ],
    },
    Topic {
        key: "images.fetch_over_tor",
        title: "Pictures that a request only points to",
        about: "Some tools send the address of a picture instead of the picture.",
        choices: &[
            choice("false", "Refuse", "Nothing is fetched; the tool is told."),
            choice(
                "true",
                "Fetch through Tor",
                "Each on a circuit of its own. The site learns that somebody looks at it; the exit sees which site.",
            ),
        ],
    },
];

/// The view.
pub(super) fn body(settings: &[Setting], admitted: &Admitted) -> Markup {
    let waiting = settings.iter().any(|setting| setting.now != setting.next);
    html! {
        p.intro {
            "Written to " code { "config.toml" } " in llmtor's home; your comments and the order stay. Changes take effect at the \
             next start, because a running daemon keeps what it began with."
        }
        @if waiting {
            p.notice.attention {
                strong { "Some changes wait for a restart." }
                " Stop llmtor and start it again when no call is under way."
            }
        }
        form.settings method="post" action="settings" {
            input type="hidden" name="form" value=(admitted.form.expose());
            @for topic in TOPICS {
                @if let Some(setting) = settings.iter().find(|setting| setting.key == topic.key) {
                    (one(topic, setting))
                }
            }
            div.save { button.main { "Save" } }
        }
    }
}

fn one(topic: &Topic, setting: &Setting) -> Markup {
    let about = format!("about-{}", topic.key.replace('.', "-"));
    html! {
        fieldset aria-describedby=(about) disabled[setting.overruled_by.is_some()] {
            legend { (topic.title) }
            p #(about) .fine { (topic.about) }
            @if let Some(by) = &setting.overruled_by {
                p.notice.attention { "Set by " code { (by) } ", which stands over the file." }
            }
            div.choices {
                @for choice in topic.choices {
                    label.choice {
                        input type="radio" name=(topic.key) value=(choice.value) checked[choice.value == setting.next];
                        span.body {
                            span.name {
                                (choice.name)
                                @if choice.value == setting.now { " " span.tag.good { "in effect" } }
                                @else if choice.value == setting.next { " " span.tag.attention { "after a restart" } }
                            }
                            span.meaning { (choice.meaning) }
                        }
                    }
                }
            }
        }
    }
}

/// What of a form differs from what is set. Only values that the page offers count.
pub(super) fn changes<'a>(now: &[Setting], form: impl Fn(&str) -> Option<&'a str>) -> Vec<(String, String)> {
    TOPICS
        .iter()
        .filter_map(|topic| {
            let setting = now.iter().find(|setting| setting.key == topic.key)?;
            let value = form(topic.key)?;
            let is_offered = topic.choices.iter().any(|choice| choice.value == value);
            let is_other = value != setting.next && setting.overruled_by.is_none();
            (is_offered && is_other).then(|| (topic.key.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn every_choice_is_a_value_of_its_setting_and_every_word_of_a_choice_is_offered() {
        for topic in TOPICS {
            let key = table::find(topic.key).unwrap();
            for choice in topic.choices {
                let value = match choice.value {
                    "true" => toml::Value::Boolean(true),
                    "false" => toml::Value::Boolean(false),
                    word => toml::Value::String(word.to_owned()),
                };
                assert!(key.kind.accepts(&value), "{} = {}", topic.key, choice.value);
            }
            if let table::Kind::Choice(words) = key.kind {
                assert_eq!(topic.choices.len(), words.len(), "{}", topic.key);
            }
        }
    }

    #[test]
    fn only_what_differs_and_is_offered_is_changed() {
        let setting = |key, next: &str, overruled: Option<&str>| Setting {
            key,
            now: "x".into(),
            next: next.into(),
            overruled_by: overruled.map(str::to_owned),
        };
        let now = [
            setting("privacy", "balanced", None),
            setting("topup.enabled", "true", None),
            setting("anonymous.isolation", "per-call", Some("LLMTOR_ANONYMOUS__ISOLATION")),
        ];
        let form = |key: &str| match key {
            "privacy" => Some("strong"),
            "topup.enabled" => Some("true"),
            "anonymous.isolation" => Some("shared"),
            "identity.transport" => Some("tor"),
            _ => None,
        };
        assert_eq!(changes(&now, form), [("privacy".to_owned(), "strong".to_owned())]);
        assert!(changes(&now, |key| (key == "privacy").then_some("none")).is_empty());
    }
}
