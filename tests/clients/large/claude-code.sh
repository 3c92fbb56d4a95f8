#!/bin/sh
# claude -p with the settings of `llmtor setup claude-code`: a tool loop over /v1/messages.
. "$(dirname "$0")/common.sh"

set_up claude-code
program="$modules/@anthropic-ai/claude-code-linux-x64/claude"
# A key of the user's own would be refused by the endpoint, and would better not be sent about.
ANTHROPIC_API_KEY=sk-ant-of-the-user "$program" -p --permission-mode acceptEdits "$task" >../said 2>&1 </dev/null || {
    cat ../said >&2
    fail "claude ends well"
}
written
grep -q 'The file is there.' ../said || { cat ../said >&2; fail "the answer comes after the result"; }
set_back claude-code
verdict @anthropic-ai/claude-code "set up by llmtor setup and set back" "-p: a file by its tool, the result, the answer"
