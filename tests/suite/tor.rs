//! The way through Tor: the real daemon on a private network of real relays (Debian's `tor`; see `support::tornet`).

mod calls;
mod hosting;
mod identity;

/// Arti's settings for a network that is not there: one address of this machine where nobody listens.
const NOWHERE: &str = "\
[tor_network.authorities]
v3idents = [\"0123456789ABCDEF0123456789ABCDEF01234567\"]
uploads = [[\"127.0.0.9:1\"]]
downloads = [[\"127.0.0.9:1\"]]
votes = [[\"127.0.0.9:1\"]]
[[tor_network.fallback_caches]]
rsa_identity = \"0123456789ABCDEF0123456789ABCDEF01234567\"
ed_identity = \"Ag/Gc4vnZ9rLgcq3vRzLhD7aRWq2SKMMxmLRqxQSdH0\"
orports = [\"127.0.0.9:1\"]
";
