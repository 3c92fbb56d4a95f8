#!/bin/sh
# opencode run with the settings of `llmtor setup opencode`: its title and a tool loop.
. "$(dirname "$0")/common.sh"

set_up opencode
export OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_LSP_DOWNLOAD=1
export OPENCODE_DISABLE_DEFAULT_PLUGINS=1 OPENCODE_DISABLE_SHARE=1
# It would install what plugins need, although there are none.
printf 'registry=http://127.0.0.1:9/\nfetch-retries=0\n' >"$HOME/.npmrc"
# The one of the package's programs that runs on every processor.
program="$modules/opencode-linux-x64-baseline/bin/opencode"
"$program" run "$task" >../said 2>&1 </dev/null || { cat ../said >&2; fail "opencode ends well"; }
written
grep -q 'The file is there.' ../said || { cat ../said >&2; fail "the answer comes after the result"; }
set_back opencode "$HOME/.config/opencode/opencode.json"
verdict opencode-ai "set up by llmtor setup and set back" "run: a file by its tool, the result, the answer"
