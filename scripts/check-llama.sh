#!/usr/bin/env bash
# A scripted check, not a test: `llmtor demo --upstream` in front of a real llama.cpp server with a real (small)
# model, both from PyPI packages, offline once those are installed. Needs python3 and the release build:
#
#     cargo build --release && scripts/check-llama.sh
#
# It asks plain and streaming through llmtor with curl, and checks that each answer came and cost one token.
set -euo pipefail
cd "$(dirname "$0")/.."
bin="${LLMTOR_BIN:-$PWD/target/release/llmtor}"
room="$PWD/target/llama"
mkdir -p "$room"
work="$(mktemp -d)"
children=()
trap 'for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; done; rm -rf "$work"' EXIT

[ -x "$room/venv/bin/python" ] || python3 -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet --disable-pip-version-check -r scripts/llama/requirements.txt

mkfifo "$work/hold"
"$room/venv/bin/python" scripts/llama/serve.py "$room/model.gguf" <"$work/hold" >"$work/upstream" 2>"$work/llama.log" &
children+=($!)
exec 9>"$work/hold"
for _ in $(seq 600); do grep -q '^http' "$work/upstream" && break; sleep 0.1; done
upstream="$(grep '^http' "$work/upstream")"
echo "llama.cpp answers at $upstream"

"$bin" demo --listen 127.0.0.1:0 --upstream "$upstream" --upstream-model gemma --credits 5 --json \
    --home "$work/home" >"$work/ready" 2>"$work/demo.log" &
children+=($!)
for _ in $(seq 600); do grep -q '"base_url"' "$work/ready" && break; sleep 0.1; done
field() { grep '"base_url"' "$work/ready" | python3 -c 'import json,sys; print(json.loads(sys.stdin.readline())[sys.argv[1]])' "$1"; }
base_url="$(field base_url)"; api_key="$(field api_key)"
stock() { "$bin" --home "$work/home" tokens; }
ask() {
    curl --silent --show-error --fail-with-body --no-buffer --max-time 300 "$base_url/chat/completions" \
        -H "Authorization: Bearer $api_key" -H "Content-Type: application/json" -d "$1"
}

stock
ask '{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"Write one sentence about the sea."}]}' >"$work/plain"
python3 -c 'import json,sys
answer = json.load(open(sys.argv[1]))
text = answer["choices"][0]["message"]["content"]
assert text.strip(), answer
print("plain:", text.strip())' "$work/plain"
ask '{"model":"gpt-4.1-mini","stream":true,"messages":[{"role":"user","content":"Write one sentence about rain."}]}' >"$work/stream"
python3 -c 'import json,sys
lines = [line[6:].strip() for line in open(sys.argv[1]) if line.startswith("data: ")]
assert lines[-1] == "[DONE]", lines[-3:]
text = "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines[:-1])
assert text.strip(), lines
print("stream:", text.strip())' "$work/stream"
stock | tee "$work/stock"
awk '$1 == "gpt-4.1-mini" { found = $NF } END { exit found != 2 }' "$work/stock" || { echo "two calls did not cost two tokens" >&2; exit 1; }
