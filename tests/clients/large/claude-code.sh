#!/bin/sh
# claude -p: a tool loop over /v1/messages.
. "$(dirname "$0")/common.sh"

export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_AUTOUPDATER=1 DISABLE_TELEMETRY=1 DISABLE_ERROR_REPORTING=1
program="$modules/@anthropic-ai/claude-code-linux-x64/claude"
"$program" -p --model "$LLMTOR_MODEL" --permission-mode acceptEdits "$task" >../said 2>&1 </dev/null || {
    cat ../said >&2
    fail "claude ends well"
}
written
grep -q 'The file is there.' ../said || { cat ../said >&2; fail "the answer comes after the result"; }
verdict @anthropic-ai/claude-code "-p: a file by its tool, the result, the answer"
