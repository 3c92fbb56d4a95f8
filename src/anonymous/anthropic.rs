//! Anthropic's contract.
