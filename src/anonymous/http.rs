//! The loopback endpoint.
