#!/bin/sh
# What the drivers of the large clients share; each sources it. They run in an empty directory that is their HOME too.
set -eu

here="$(cd "$(dirname "$0")" && pwd)"
modules="$LLMTOR_CLIENTS/node_modules"
task='Create the file greeting.txt with the text kumquat'

fail() { echo "does not hold: $1" >&2; exit 1; }

# A directory to work in: a repository with one file, a branch and a remote.
mkdir -p work
cd work
git init --quiet --initial-branch a-private-branch .
git remote add origin https://private-remote.example/repository.git
echo 'print("hello")' >greet.py
git add greet.py
git -c user.name=nobody -c user.email=nobody@example.org commit --quiet --message 'A greeting'

# set_up TOOL: has llmtor write the tool's settings, as its users do; nothing else tells the tool where to go. Where a relay
# watches what the tool sends, it stands in the place of the endpoint.
set_up() {
    "$LLMTOR" setup "$1" --yes >../setup.out 2>&1 || { cat ../setup.out >&2; fail "llmtor setup $1"; }
    ! grep -q "$OPENAI_API_KEY" ../setup.out || fail "the key is not shown"
    if [ "$LLMTOR_URL" != "$OPENAI_BASE_URL" ]; then
        grep -rlF "${LLMTOR_URL%/v1}" "$HOME" --include='*.toml' --include='*.json' --include='*.yaml' --include='*.yml' |
            grep -vF "$LLMTOR_HOME" | xargs sed -i "s|${LLMTOR_URL%/v1}|${OPENAI_BASE_URL%/v1}|"
    fi
    unset OPENAI_BASE_URL OPENAI_API_BASE OPENAI_API_KEY ANTHROPIC_BASE_URL ANTHROPIC_API_KEY
}

# set_back TOOL: takes the settings out again; FILE… are gone then.
set_back() {
    tool="$1"; shift
    "$LLMTOR" setup "$tool" --undo --yes >../undo.out 2>&1 || { cat ../undo.out >&2; fail "llmtor setup $tool --undo"; }
    for file in "$@"; do [ ! -e "$file" ] || fail "$file is gone"; done
}

# written: whether the client did what it was asked.
written() { [ "$(cat greeting.txt 2>/dev/null)" = kumquat ] || fail "the file is written"; }

# verdict PACKAGE PROVED…: for a package from npm.
verdict() {
    package="$1"; shift
    version="$(node -p 'require(process.argv[1]).version' "$modules/$package/package.json")"
    say "$package" "$version" "$@"
}

# say PACKAGE VERSION PROVED…
say() {
    package="$1" version="$2"; shift 2
    proved="$(printf ',"%s"' "$@")"
    printf '{"versions":{"%s":"%s"},"proved":[%s]}\n' "$package" "$version" "${proved#,}"
}
