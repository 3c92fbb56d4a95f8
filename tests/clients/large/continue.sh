#!/bin/sh
# cn -p with the settings of `llmtor setup continue`: a tool loop.
. "$(dirname "$0")/common.sh"

set_up continue
export CONTINUE_TELEMETRY_ENABLED=0 CONTINUE_METRICS_ENABLED=0 CONTINUE_CLI_AUTO_UPDATED=true
# It tells its maker's service the number of this machine at every start.
NODE_OPTIONS="--require=$here/offline.cjs"
export NODE_OPTIONS
"$modules/.bin/cn" --auto -p "$task" >../said 2>&1 </dev/null || { cat ../said >&2; fail "cn ends well"; }
written
grep -q 'The file is there.' ../said || { cat ../said >&2; fail "the answer comes after the result"; }
set_back continue "$HOME/.continue/config.yaml"
verdict @continuedev/cli "set up by llmtor setup and set back" "-p: a file by its tool, the result, the answer"
