#!/usr/bin/env bash
# llmtor with nothing but curl. OPENAI_BASE_URL and OPENAI_API_KEY say where (`eval "$(llmtor env)"`).
set -euo pipefail
model="${MODEL:-gpt-4.1-mini}"

call() {
    curl --silent --show-error --fail-with-body --no-buffer "$OPENAI_BASE_URL/chat/completions" \
        -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" -d "$1"
}

# Plain.
call '{"model": "'"$model"'", "messages": [{"role": "user", "content": "Count to 5, please."}]}'
echo
# Streaming: server-sent events, ending with [DONE].
call '{"model": "'"$model"'", "stream": true, "messages": [{"role": "user", "content": "Count to 5, please."}]}'
