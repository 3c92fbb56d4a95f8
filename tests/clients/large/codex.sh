#!/bin/sh
# codex exec with the settings of `llmtor setup codex`: a whole tool loop over /v1/responses.
. "$(dirname "$0")/common.sh"

set_up codex
# It would look for a newer version of itself, and for plugins and apps of its maker's.
"$modules/.bin/codex" exec --json --sandbox workspace-write -c check_for_update_on_startup=false -c features.plugins=false \
    -c features.apps=false "$task" >../events 2>../errors </dev/null || {
    cat ../events ../errors >&2
    fail "codex ends well"
}
written
grep -q '"type":"command_execution".*"exit_code":0' ../events || fail "a command is run"
grep -q '"type":"agent_message","text":"The file is there."' ../events || fail "the answer comes after the result"
verdict @openai/codex "set up by llmtor setup" "exec: a command by its tool, the result, the answer" "what it tells of the machine does not leave"
