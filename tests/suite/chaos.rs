//! The daemon under a proxy that breaks things and a hand that kills it; and the books, which must balance afterwards.
//!
//! # The books
//!
//! | book | whose | kept in |
//! | --- | --- | --- |
//! | issued | the backend's | `ledger.db`: credits used |
//! | redeemed | the backend's | `spent.db`: tokens that were spent |
//! | asked | the provider's | the requests that it was shown, by their canary |
//! | held | the client's | `llmtor tokens`: what there is in each state, the counter of spent ones, the losses |
//! | sent | the proxy's | which prompts went with which token, as digests |
//! | answered | this test's | the prompts that came back with an answer, and what it was |
//!
//! They balance when
//!
//! 1. issued = available + maturing + in doubt + refused + spent + lost. *Lost* is what the daemon itself wrote down as such,
//!    and no more than had to be ([`Expected::lost`]): in the soak none. Nothing is left blinded, reserved or presented;
//! 2. spent (held) ≤ redeemed ≤ spent + in doubt (+ maybe spent, [`Expected::maybe_spent`]): whatever the daemon takes for
//!    good is, and whatever it takes for spent was;
//! 3. asked = redeemed: no token was answered upstream twice, and none for nothing;
//! 4. each prompt was asked as often as it was paid for, which is once, or what [`Expected::asked`] says;
//! 5. no token was sent with two prompts, but those that are maybe spent;
//! 6. every prompt was answered, with its own canary and no other;
//! 7. what is left over is good: each token that is still available buys an answer.

mod books;
mod client;
mod clock;
mod issuance;
mod redemption;
mod soak;
mod stage;
