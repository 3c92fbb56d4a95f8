//! Failures in Ollama's form.

use serde::Serialize;

use crate::anonymous::face::error::ErrorObject;
use crate::anonymous::face::json::to_vec;

/// `{"error":"…"}`: all that Ollama's clients read.
pub fn to_json(error: &ErrorObject) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
    }
    to_vec(&Body { error: &error.message })
}

/// The same as the last line of a stream.
pub fn line(error: &ErrorObject) -> Vec<u8> {
    let mut line = to_json(error);
    line.push(b'\n');
    line
}
