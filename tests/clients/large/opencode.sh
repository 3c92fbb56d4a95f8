#!/bin/sh
# opencode run: its title and a tool loop.
. "$(dirname "$0")/common.sh"

cat >opencode.json <<END
{
  "autoupdate": false,
  "share": "disabled",
  "permission": {"edit": "allow", "bash": "deny", "webfetch": "deny"},
  "provider": {
    "llmtor": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "llmtor",
      "options": {"baseURL": "{env:OPENAI_BASE_URL}", "apiKey": "{env:OPENAI_API_KEY}"},
      "models": {"$LLMTOR_MODEL": {"name": "Asked"}}
    }
  }
}
END
export OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_LSP_DOWNLOAD=1
export OPENCODE_DISABLE_DEFAULT_PLUGINS=1 OPENCODE_DISABLE_SHARE=1
# It would install what plugins need, although there are none.
printf 'registry=http://127.0.0.1:9/\nfetch-retries=0\n' >"$HOME/.npmrc"
# The one of the package's programs that runs on every processor.
program="$modules/opencode-linux-x64-baseline/bin/opencode"
"$program" run --model "llmtor/$LLMTOR_MODEL" "$task" >../said 2>&1 </dev/null || { cat ../said >&2; fail "opencode ends well"; }
written
grep -q 'The file is there.' ../said || { cat ../said >&2; fail "the answer comes after the result"; }
verdict opencode-ai "run: a file by its tool, the result, the answer"
