#!/bin/sh
# cn -p: a tool loop.
. "$(dirname "$0")/common.sh"

(umask 077 && cat >../config.yaml) <<END
name: llmtor
version: 1.0.0
schema: v1
models:
  - name: asked
    provider: openai
    model: $LLMTOR_MODEL
    apiBase: $OPENAI_BASE_URL
    apiKey: $OPENAI_API_KEY
    roles: [chat, edit, apply]
    capabilities: [tool_use]
END
export CONTINUE_TELEMETRY_ENABLED=0 CONTINUE_METRICS_ENABLED=0 CONTINUE_CLI_AUTO_UPDATED=true
# It tells its maker's service the number of this machine at every start.
NODE_OPTIONS="--require=$here/offline.cjs"
export NODE_OPTIONS
"$modules/.bin/cn" --config ../config.yaml --auto -p "$task" >../said 2>&1 </dev/null || { cat ../said >&2; fail "cn ends well"; }
written
grep -q 'The file is there.' ../said || { cat ../said >&2; fail "the answer comes after the result"; }
verdict @continuedev/cli "-p: a file by its tool, the result, the answer"
