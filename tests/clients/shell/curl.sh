#!/bin/sh
# curl -N: an answer, a stream that comes in pieces, and what people mistype.
set -eu

fail() { echo "does not hold: $1" >&2; exit 1; }
# ask PATH BODY: with the key from a file, for what stands on a command line is seen by everybody.
ask() { curl -N --silent --show-error --max-time 60 -H @"$headers" -d "$2" "${OPENAI_BASE_URL%/v1}$1"; }
headers="$HOME/curl-headers"
(umask 077 && printf 'Authorization: Bearer %s\nContent-Type: application/json\n' "$OPENAI_API_KEY" >"$headers")

words='kumquat seventeen'
chat='{"model":"'$LLMTOR_MODEL'","messages":[{"role":"user","content":"Say exactly: \"'$words'\""}]'
response='{"model":"'$LLMTOR_MODEL'","input":"Say exactly: \"'$words'\"","stream":true}'

for path in /v1/chat/completions /chat/completions /v1/v1/chat/completions /v1/chat/completions/; do
    ask "$path" "$chat}" | grep -q "\"content\":\"$words\"" || fail "an answer from $path"
done
stream="$(ask /v1/chat/completions "$chat,\"stream\":true}")"
[ "$(printf '%s\n' "$stream" | grep -c '^data: ')" -ge 4 ] || fail "a stream in pieces"
[ "$(printf '%s\n' "$stream" | grep '^data: ' | tail -n 1)" = "data: [DONE]" ] || fail "the end of a stream"
ask /v1/responses "$response" | grep -q '^event: response.completed' || fail "the end of a stream of /v1/responses"

version="$(curl --version | sed -n '1s/^curl \([^ ]*\).*/\1/p')"
printf '{"versions":{"curl":"%s"},"proved":["plain","mistyped paths","stream","responses stream"]}\n' "$version"
