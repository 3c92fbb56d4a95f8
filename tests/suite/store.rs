//! Buying and selling, by the real programs: webhooks over real sockets, the checkout page in a real browser, vouchers, and
//! `llmtor buy` from its first word to the credits.

mod buying;
mod checkout;
mod shop;
mod vouchers;
mod webhooks;
