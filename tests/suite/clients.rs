//! The matrix of real clients: each of a pinned version, as its users run it, against the real program before the real
//! reference backend, with a provider that answers as a model would ([`model`]).
//!
//! What a client does stands in `tests/clients`, where a driver asserts what came of each task and prints what it has
//! proved. `docs/clients.md` lists that, and is wrong when it differs ([`table`]). Each test then looks at what the
//! provider was shown: a model and messages, whatever the client sent.
//!
//! `quick` needs what `README.md` ("Tests") says; `large`, which is left out of a plain run, what `.ci/clients` installs.
//! Where that is missing they say so and skip; with `CI` set that is a failure.

mod large;
mod model;
mod quick;
mod rust;
mod stage;
mod table;
