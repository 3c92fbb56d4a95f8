//! Top-ups on their own clock: when tokens are minted, and how many.
//!
//! [`policy`] decides, purely, from the stock, the habit and the clock.

pub mod policy;
