//! What becomes of every parameter of Ollama's API.

use crate::anonymous::face::fields::Treatment::{Carried, Emulated, Ignored, Refused};
use crate::anonymous::face::fields::reasons::{FORM, NO_LOGPROBS, NOT_CHOSEN, SAMPLING};
use crate::anonymous::face::fields::{Field, Table};

const NO_MACHINE: &str = "no model runs on a machine of yours";
const LINES: &str = "on unless it is off: the whole answer, in pieces, once it is here";
const NAME: &str = "with or without `:latest`; other names for one come from `[api.aliases]`";
const NOTHING_TO_KEEP: &str = "there is nothing to keep, or to let go";
const PICTURES: &str = "base64 of PNG, JPEG, GIF or WebP";

/// `POST /api/chat`.
pub const CHAT: Table = Table {
    endpoint: "POST /api/chat",
    required: &["model"],
    fields: &[
        Field::new("model", Carried, NAME),
        Field::new(
            "messages",
            Carried,
            "in the three roles that every model takes; none at all costs no token",
        ),
        Field::new("messages[].images", Carried, PICTURES),
        Field::new("messages[].thinking", Emulated, "what a model thought is not part of what was said"),
        Field::new("stream", Emulated, LINES),
        Field::new("format", Emulated, FORM),
        Field::new("tools", Emulated, "told to the model; its calls are read out of its answer"),
        Field::new("options", Emulated, "see its parts"),
        Field::new("keep_alive", Emulated, NOTHING_TO_KEEP),
        Field::new("think", Ignored, NOT_CHOSEN).unless(&["false"]),
        Field::new("truncate", Ignored, "nothing that was said is left out").unless(&["false"]),
        Field::new("shift", Ignored, "nothing that was said is left out").unless(&["false"]),
        Field::new("logprobs", Refused, NO_LOGPROBS).unless(&["false"]),
        Field::new("top_logprobs", Refused, NO_LOGPROBS).unless(&["0"]),
    ],
};

/// `POST /api/generate`.
pub const GENERATE: Table = Table {
    endpoint: "POST /api/generate",
    required: &["model"],
    fields: &[
        Field::new("model", Carried, NAME),
        Field::new("prompt", Carried, "said by the user; none at all costs no token"),
        Field::new("system", Carried, "as instructions"),
        Field::new("images", Carried, PICTURES),
        Field::new("stream", Emulated, LINES),
        Field::new("format", Emulated, FORM),
        Field::new("options", Emulated, "see its parts"),
        Field::new("keep_alive", Emulated, NOTHING_TO_KEEP),
        Field::new("think", Ignored, NOT_CHOSEN).unless(&["false"]),
        Field::new("template", Ignored, "the models here have their own").unless(&["\"\""]),
        Field::new("raw", Ignored, "the models here answer messages, and nothing else").unless(&["false"]),
        Field::new("truncate", Ignored, "nothing that was said is left out").unless(&["false"]),
        Field::new("shift", Ignored, "nothing that was said is left out").unless(&["false"]),
        Field::new("suffix", Refused, "the models here answer messages, and fill no gaps").unless(&["\"\""]),
        Field::new(
            "context",
            Refused,
            "none was handed out here; what was said before belongs to `/api/chat`",
        )
        .unless(&["[]"]),
        Field::new("logprobs", Refused, NO_LOGPROBS).unless(&["false"]),
        Field::new("top_logprobs", Refused, NO_LOGPROBS).unless(&["0"]),
    ],
};

/// `options` of both.
pub const OPTIONS: Table = Table {
    endpoint: "POST /api/chat and /api/generate: options",
    required: &[],
    fields: &[
        Field::new("options.stop", Emulated, "the answer is cut before it"),
        Field::new(
            "options.num_predict",
            Emulated,
            "cut with `done_reason: length`, counted with the model's tokenizer; 0 and less are no limit",
        ),
        Field::new("options.temperature", Ignored, SAMPLING),
        Field::new("options.top_k", Ignored, SAMPLING),
        Field::new("options.top_p", Ignored, SAMPLING),
        Field::new("options.min_p", Ignored, SAMPLING),
        Field::new("options.typical_p", Ignored, SAMPLING),
        Field::new("options.tfs_z", Ignored, SAMPLING),
        Field::new("options.seed", Ignored, SAMPLING),
        Field::new("options.repeat_last_n", Ignored, SAMPLING),
        Field::new("options.repeat_penalty", Ignored, SAMPLING),
        Field::new("options.presence_penalty", Ignored, SAMPLING),
        Field::new("options.frequency_penalty", Ignored, SAMPLING),
        Field::new("options.penalize_newline", Ignored, SAMPLING),
        Field::new("options.mirostat", Ignored, SAMPLING),
        Field::new("options.mirostat_eta", Ignored, SAMPLING),
        Field::new("options.mirostat_tau", Ignored, SAMPLING),
        Field::new("options.num_ctx", Ignored, "models have the context that they have"),
        Field::new("options.num_keep", Ignored, "nothing that was said is left out"),
        Field::new("options.num_batch", Ignored, NO_MACHINE),
        Field::new("options.num_gpu", Ignored, NO_MACHINE),
        Field::new("options.main_gpu", Ignored, NO_MACHINE),
        Field::new("options.num_thread", Ignored, NO_MACHINE),
        Field::new("options.numa", Ignored, NO_MACHINE),
        Field::new("options.low_vram", Ignored, NO_MACHINE),
        Field::new("options.use_mmap", Ignored, NO_MACHINE),
        Field::new("options.use_mlock", Ignored, NO_MACHINE),
    ],
};

/// All of them.
pub const TABLES: &[&Table] = &[&CHAT, &GENERATE, &OPTIONS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_is_named_twice() {
        for table in TABLES {
            let mut names: Vec<_> = table.fields.iter().map(|field| field.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{}", table.endpoint);
        }
    }
}
