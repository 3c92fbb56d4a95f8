#!/usr/bin/env bash
# Runs every example against a fresh `llmtor demo` and checks what each prints.
# LLMTOR_BIN names the program (default: the release build).
set -euo pipefail
cd "$(dirname "$0")/.."
bin="${LLMTOR_BIN:-$PWD/target/release/llmtor}"
shared_target="${CARGO_TARGET_DIR:-$PWD/target}"
work="$(mktemp -d)"
demo=
trap '[ -z "$demo" ] || { kill "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; }; rm -rf "$work"' EXIT

"$bin" demo --listen 127.0.0.1:0 --credits 20 --json --home "$work/home" >"$work/ready" 2>"$work/log" &
demo=$!
for _ in $(seq 1200); do
    grep -q '"base_url"' "$work/ready" && break
    kill -0 "$demo" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
field() { python3 -c 'import json,sys
for line in open(sys.argv[1]):
    event = json.loads(line)
    if sys.argv[2] in event: print(event[sys.argv[2]])' "$work/ready" "$1"; }
OPENAI_BASE_URL="$(field base_url)"; OPENAI_API_KEY="$(field api_key)"
export OPENAI_BASE_URL OPENAI_API_KEY

spent() { "$bin" --home "$work/home" tokens --json | python3 -c 'import json,sys
def total(value):
    if isinstance(value, dict):
        return sum(count if key == "spent" and isinstance(count, int) else total(count) for key, count in value.items())
    return sum(map(total, value)) if isinstance(value, list) else 0
print(total(json.load(sys.stdin)))'; }

failures=0
# example NAME CALLS COMMAND…: it must answer with the numbers and spend exactly CALLS tokens.
example() {
    local name="$1" calls="$2" before after; shift 2
    before="$(spent)"
    if ! "$@" >"$work/out" 2>"$work/err"; then
        echo "FAILED $name"; cat "$work/out" "$work/err"; failures=$((failures + 1)); return
    fi
    after="$(spent)"
    if ! tr -d '\n' <"$work/out" | grep -q '1.*2.*3.*4.*5.*1.*2.*3.*4.*5'; then
        echo "FAILED $name: no answer in what it printed"; cat "$work/out"; failures=$((failures + 1)); return
    fi
    if [ $((after - before)) != "$calls" ]; then
        echo "FAILED $name: $((after - before)) tokens spent, not $calls"; failures=$((failures + 1)); return
    fi
    echo "ok $name"
}

python="$shared_target/ci/example-python"
[ -x "$python/bin/python" ] || python3 -m venv "$python"
"$python/bin/pip" install --quiet --disable-pip-version-check -r examples/python/requirements.txt
(cd examples/node && npm ci --silent --no-audit --no-fund)
cargo build --quiet --locked --manifest-path examples/rust/Cargo.toml --target-dir "$shared_target/examples"

example curl 2 examples/curl/chat.sh
example python 2 "$python/bin/python" examples/python/chat.py
example node 2 node examples/node/chat.mjs
example rust 2 "$shared_target/examples/debug/llmtor-example"
[ "$failures" = 0 ] || exit 1
echo "4 examples, 8 calls, 8 tokens"
