//! OpenAI's contract: parse → domain request, and back.
