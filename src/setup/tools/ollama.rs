//! Programs that speak Ollama's API.

use super::{Plan, Tool, Way, nowhere};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "ollama",
    aliases: &["ollama-clients"],
    name: "Programs for Ollama",
    about: "Prints the variables for programs that speak Ollama's API: the endpoint speaks it, too.",
    way: Way::Prints,
    needs_file: None,
    is_here: |machine| machine.has_program(&["ollama"]),
    place: nowhere,
    plan: |_, facts, _| {
        let variables = format!("OLLAMA_HOST={}\nOLLAMA_API_KEY={}", facts.origin(), facts.key.expose());
        let header = format!("Authorization: Bearer {}", facts.key.expose());
        let steps = vec![
            Step::paste("for programs that read the environment:", variables),
            Step::paste("for programs with a field for a header instead of a key:", header),
            Step::say("models are not pulled: those that you have tokens for are there"),
        ];
        Plan { files: Vec::new(), steps }
    },
};
