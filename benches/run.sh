#!/usr/bin/env bash
# Every figure of BENCHMARKS.md, in one run on one machine: llmtor's release build, Portkey's gateway and
# LiteLLM's proxy, each before the same fixed-answer provider, and the minting work beside blindrsa-ts.
# Needs node and python3, and installs the peers under target/bench. `--own` leaves the peers out.
set -euo pipefail
cd "$(dirname "$0")/.."
rooms="$PWD/target/bench"
mkdir -p "$rooms"
children=()
trap 'for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done' EXIT

cargo build --quiet --locked --release
load="$(cargo bench --locked --bench load --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json,sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "load": print(message["executable"])' | tail -1)"

echo "# $(date -u +%Y-%m-%d), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)"
echo
"$load" daemon --program target/release/llmtor
[ "${1:-}" != --own ] || exit 0

"$load" provider >"$rooms/provider.json" &
children+=($!)
until [ -s "$rooms/provider.json" ]; do sleep 0.1; done
provider="$(python3 -c 'import json,sys; print(json.loads(sys.stdin.readline())["url"])' <"$rooms/provider.json")"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { for _ in $(seq 600); do ! curl -s -m 1 -o "$rooms/probe" "$1" || return 0; sleep 0.1; done; return 1; }

(cd benches/peers && npm ci --silent --no-audit --no-fund)
port="$(free_port)"
node benches/peers/node_modules/@portkey-ai/gateway/build/start-server.js --port="$port" --headless \
    >"$rooms/portkey.log" 2>&1 &
children+=($!)
wait_for "http://127.0.0.1:$port/"
"$load" peer "Portkey gateway 1.15.2" "http://127.0.0.1:$port/v1" "$!" "$provider" \
    "x-portkey-provider: openai" "x-portkey-custom-host: $provider/v1" "authorization: Bearer unused"
kill "${children[-1]}"

python="$rooms/litellm"
[ -x "$python/bin/litellm" ] || { python3 -m venv "$python"; "$python/bin/pip" install --quiet -r benches/peers/requirements.txt; }
key="sk-$(python3 -c 'import secrets; print(secrets.token_hex(24))')"
cat >"$rooms/litellm.yaml" <<YAML
model_list:
  - model_name: gpt-4.1-mini
    litellm_params:
      model: openai/gpt-4.1-mini
      api_base: $provider/v1
      api_key: unused
general_settings:
  master_key: $key
YAML
port="$(free_port)"
LITELLM_LOCAL_MODEL_COST_MAP=True "$python/bin/litellm" --config "$rooms/litellm.yaml" --host 127.0.0.1 --port "$port" \
    >"$rooms/litellm.log" 2>&1 &
children+=($!)
wait_for "http://127.0.0.1:$port/health/liveliness"
"$load" peer "LiteLLM proxy 1.106.2" "http://127.0.0.1:$port/v1" "$!" "$provider" "authorization: Bearer $key"

ours="$("$load" blind)"
theirs="$(node benches/peers/blind.mjs)"
echo
echo "## Client work for one token, one core"
echo
echo "| llmtor, ms | @cloudflare/blindrsa-ts 0.4.4, ms | ratio |"
echo "| --- | --- | --- |"
python3 -c 'import sys; ours, theirs = map(float, sys.argv[1:]); print(f"| {ours:.2f} | {theirs:.2f} | {theirs / ours:.0f} |")' "$ours" "$theirs"
