//! The reference backend, over real sockets.

mod durability;
pub(crate) mod house;
mod issuing;
mod quiet;
mod redeeming;
mod refusals;
mod sign_in;
