//! What the backend cannot do, done locally by pure functions. Today: streaming.
