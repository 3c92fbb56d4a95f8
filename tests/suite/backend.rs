//! The reference backend, over real sockets.

mod durability;
mod house;
mod issuing;
mod quiet;
mod redeeming;
mod refusals;
