//! Tests from the inside.
