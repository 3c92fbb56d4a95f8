//! The way through Tor: the real daemon on a private network of real relays (Debian's `tor`; see `support::tornet`).

mod calls;
