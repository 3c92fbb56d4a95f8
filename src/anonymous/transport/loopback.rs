//! Dials loopback and nothing else.
