#!/bin/sh
# codex exec: a whole tool loop over /v1/responses.
. "$(dirname "$0")/common.sh"

export CODEX_HOME="$HOME/.codex"
mkdir -p "$CODEX_HOME"
cat >"$CODEX_HOME/config.toml" <<END
model = "$LLMTOR_MODEL"
model_provider = "llmtor"
check_for_update_on_startup = false

[analytics]
enabled = false

[feedback]
enabled = false

[otel]
exporter = "none"
metrics_exporter = "none"

[features]
plugins = false
apps = false

[model_providers.llmtor]
name = "llmtor"
base_url = "$OPENAI_BASE_URL"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
END
"$modules/.bin/codex" exec --json --sandbox workspace-write "$task" >../events 2>../errors </dev/null || {
    cat ../events ../errors >&2
    fail "codex ends well"
}
written
grep -q '"type":"command_execution".*"exit_code":0' ../events || fail "a command is run"
grep -q '"type":"agent_message","text":"The file is there."' ../events || fail "the answer comes after the result"
verdict @openai/codex "exec: a command by its tool, the result, the answer" "what it tells of the machine does not leave"
