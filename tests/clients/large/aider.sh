#!/bin/sh
# aider with the settings of `llmtor setup aider`: an edit by its own format, and a commit with a message by the model.
. "$(dirname "$0")/common.sh"

set_up aider
git config user.name nobody
git config user.email nobody@example.org
# The price list, which it would fetch.
mkdir -p "$HOME/.aider/caches"
echo '{"none": {}}' >"$HOME/.aider/caches/model_prices_and_context_window.json"
"$LLMTOR_CLIENTS/aider/bin/aider" --edit-format diff --yes-always --no-check-update --no-show-release-notes \
     --no-gitignore --message 'Print kumquat instead of hello.' \
    greet.py >../said 2>&1 </dev/null || { cat ../said >&2; fail "aider ends well"; }
[ "$(cat greet.py)" = 'print("kumquat")' ] || { cat ../said >&2; fail "the file is edited"; }
[ "$(git rev-list --count HEAD)" = 2 ] || { cat ../said >&2; fail "the edit is committed"; }
[ -z "$(git status --porcelain --untracked-files=no)" ] || fail "all of the edit is committed"
version="$("$LLMTOR_CLIENTS/aider/bin/python" -c 'import importlib.metadata; print(importlib.metadata.version("aider-chat"))')"
set_back aider "$HOME/.aider.conf.yml"
say aider-chat "$version" "set up by llmtor setup and set back" "--message: streamed, a file in a repository is edited, and committed with a message by the model"
