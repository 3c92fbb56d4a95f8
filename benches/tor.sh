#!/usr/bin/env bash
# What a call through Tor costs, on a private network of real relays on this machine: the tables of BENCHMARKS.md under
# "Through Tor". Needs Debian's tor, and curl. Fails where a bound is missed.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "# $(date -u +%Y-%m-%d), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)"
echo
cargo test --quiet --locked --release --test suite -- --ignored --nocapture --test-threads 1 tor::speed |
    grep -v '^running\|^test \|^\.*$\|^test result'
