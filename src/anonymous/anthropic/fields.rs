//! What becomes of every parameter of Anthropic's API.

use crate::anonymous::face::fields::Treatment::{Carried, Emulated, Ignored, Refused};
use crate::anonymous::face::fields::reasons::{FORM, NOBODY, NOT_CHOSEN, SAMPLING};
use crate::anonymous::face::fields::{Field, Table};

const CACHING: &str = "here and wherever else it stands: nothing is cached, and nothing is charged for it";
const ON_ITS_OWN: &str = "the backend does so on its own, where it can";

/// `POST /v1/messages`; of `POST /v1/messages/count_tokens`, the same.
pub const MESSAGES: Table = Table {
    endpoint: "POST /v1/messages",
    required: &["model", "messages", "max_tokens"],
    fields: &[
        Field::new("model", Carried, "other names for one come from `[api.aliases]`"),
        Field::new("messages", Carried, "in the three roles that every model takes"),
        Field::new("messages[].content[].thinking", Emulated, "what a model thought is passed over"),
        Field::new("messages[].content[].document", Carried, "plain text; PDF is refused"),
        Field::new("messages[].content[].search_result", Carried, "as text"),
        Field::new(
            "system",
            Carried,
            "as instructions; a block with the client's own name and version (x-anthropic-billing-header) stays here",
        ),
        Field::new(
            "max_tokens",
            Emulated,
            "cut with `stop_reason: max_tokens`, counted with the model's tokenizer",
        ),
        Field::new("stop_sequences", Emulated, "the answer is cut before the first"),
        Field::new("stream", Emulated, "the whole answer, in pieces, once it is here"),
        Field::new("tools", Emulated, "told to the model; its calls are read out of its answer"),
        Field::new(
            "tools[].bash, text_editor, memory",
            Emulated,
            "told to the model with the arguments that Anthropic documents",
        ),
        Field::new("tools.web_search", Ignored, ON_ITS_OWN),
        Field::new("tools.web_fetch", Ignored, ON_ITS_OWN),
        Field::new("tools.code_execution", Ignored, ON_ITS_OWN),
        Field::new("tools.tool_search", Ignored, "every tool is told to the model anyway"),
        Field::new("tools[].computer, mcp_toolset", Refused, "there is nobody who could do it"),
        Field::new("tool_choice", Emulated, "told to the model"),
        Field::new(
            "tool_choice.disable_parallel_tool_use",
            Emulated,
            "told to the model; only the first call counts",
        ),
        Field::new("output_config.format", Emulated, FORM),
        Field::new("output_format", Emulated, FORM),
        Field::new("cache_control", Emulated, CACHING),
        Field::new("output_config.effort", Ignored, NOT_CHOSEN),
        Field::new("output_config.task_budget", Ignored, NOT_CHOSEN),
        Field::new("thinking", Ignored, NOT_CHOSEN).unless(&["{\"type\":\"disabled\"}"]),
        Field::new("temperature", Ignored, SAMPLING),
        Field::new("top_p", Ignored, SAMPLING),
        Field::new("top_k", Ignored, SAMPLING),
        Field::new("metadata", Ignored, NOBODY),
        Field::new("service_tier", Ignored, "the backend has one"),
        Field::new("speed", Ignored, "the backend has one"),
        Field::new("inference_geo", Ignored, "the backend is where it is"),
        Field::new("container", Ignored, "nothing is kept between calls"),
        Field::new("context_management", Ignored, "nothing that was said is left out"),
        Field::new("mcp_servers", Refused, "the backend calls no servers").unless(&["[]"]),
    ],
};

/// All of them.
pub const TABLES: &[&Table] = &[&MESSAGES];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_is_named_twice() {
        let mut names: Vec<_> = MESSAGES.fields.iter().map(|field| field.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
