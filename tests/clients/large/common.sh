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
