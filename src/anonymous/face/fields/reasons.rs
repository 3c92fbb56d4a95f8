//! What the tables of several APIs say alike.

/// Of sampling.
pub const SAMPLING: &str = "the backend does not let sampling be chosen";
/// Of whatever else the backend decides.
pub const NOT_CHOSEN: &str = "the backend does not let it be chosen";
/// Of identifiers.
pub const NOBODY: &str = "nothing that could name you or your tool leaves this machine";
/// Of structured output.
pub const FORM: &str = "told to the model; its answer is extracted, checked and mended";
/// Of log probabilities.
pub const NO_LOGPROBS: &str = "the backend returns none";
