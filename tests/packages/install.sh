#!/usr/bin/env bash
# What a deb does to a fresh Debian: `install.sh FILE.deb`. Installed with apt (which resolves what it depends on), asked for a
# call, looked at from all sides, and removed without a trace.
set -euo pipefail
deb="$(realpath "${1:?install.sh FILE.deb}")"
cd "$(dirname "$0")/../.."
. tests/packages/room.sh

fail() { echo "does not hold: $1" >&2; exit 1; }
holds() { echo "holds: $1"; }

layers
trap leave EXIT
enter plain
inside root apt-get update -qq
inside root tee /tmp/llmtor.deb <"$deb" >/dev/null
inside root apt-get install -y -qq --no-install-recommends /tmp/llmtor.deb >"$room/apt.log" 2>&1 || { cat "$room/apt.log" >&2; fail "apt installs it"; }
holds "apt installs it"

# Nothing is started, enabled or written for anybody.
! inside root pgrep -a llmtor || fail "installing starts nothing"
enabled="$(cd "$room/changes" && find . -path '*systemd*' -name '*.wants' -o -path './etc/systemd/*llmtor*' -o -path './home/*' -o -path './root/*')"
[ -z "$enabled" ] || fail "installing enables and writes nothing for anybody: $enabled"
holds "installing starts and enables nothing"

inside $person llmtor --version
# Each command that `--help` names has a page that the renderer takes without a word.
pages=0
for page in $(inside root sh -c 'cd /usr/share/man/man1 && ls llmtor*.1.gz'); do
    said="$(inside $person sh -c "MANWIDTH=100 man --warnings -E UTF-8 -l /usr/share/man/man1/$page 2>&1 >/dev/null" || true)"
    [ -z "$said" ] || fail "the page $page renders: $said"
    pages=$((pages + 1))
done
for command in $(inside $person llmtor --help | sed -n '/^Commands:/,/^Options:/s/^  \([a-z][a-z-]*\) .*/\1/p' | grep -v '^help$'); do
    inside $person man --where "llmtor-$command" >/dev/null || fail "the command $command has a page"
done
inside $person man llmtor | grep -q 'llmtor' || fail "man llmtor shows a page"
[ "$pages" -gt 20 ] || fail "every command has a page, not only $pages"
holds "$pages manual pages render, one at least for each command"

loaded="$(inside $person bash -c '
    . /usr/share/bash-completion/bash_completion
    _completion_loader llmtor 2>/dev/null || [ $? -eq 124 ]
    COMP_WORDS=(llmtor tok) COMP_CWORD=1 COMP_LINE="llmtor tok" COMP_POINT=10
    complete -p llmtor
    $(complete -p llmtor | sed -n "s/.*-F \([^ ]*\).*/\1/p") llmtor tok llmtor
    echo "${COMPREPLY[@]}"')"
grep -qw tokens <<<"$loaded" || fail "bash completes llmtor tok: $loaded"
holds "bash completes"

# From outside, as any client would: the network is shared.
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
inside $person llmtor demo --listen "127.0.0.1:$port" --credits 3 --json >"$room/demo" 2>"$room/demo.log" &
for _ in $(seq 600); do ! grep -q '"base_url"' "$room/demo" || break; sleep 0.1; done
field() { sed -n '/"base_url"/p' "$room/demo" | python3 -c 'import json,sys; print(json.loads(sys.stdin.readline())[sys.argv[1]])' "$1"; }
[ -s "$room/demo" ] || { cat "$room/demo.log" >&2; fail "the demo starts"; }
answer="$(curl --silent --show-error --fail-with-body --max-time 60 "$(field base_url)/chat/completions" \
    -H "Authorization: Bearer $(field api_key)" -H 'Content-Type: application/json' \
    -d '{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"Count to 5, please."}]}')"
python3 -c 'import json,sys; said = json.loads(sys.argv[1])["choices"][0]["message"]["content"]; assert said.strip(), said' "$answer" \
    || fail "llmtor demo answers a call: $answer"
inside $person pkill -TERM -x llmtor
wait -n || true
! inside root pgrep -x llmtor >/dev/null || { sleep 2; ! inside root pgrep -x llmtor >/dev/null; } || fail "the demo stops"
holds "llmtor demo answers a call"

# Of the changes to the system; a character device 0:0 is how the overlay says "removed".
ours() { (cd "$room/changes" && find . \( -iname '*llmtor*' -o -path './home/*' -o -path './etc/systemd/*' \) ! -type c); }
[ "$(ours | wc -l)" -gt 40 ] || fail "the search for what is ours finds what was installed"
inside root apt-get purge -y -qq --autoremove llmtor >"$room/apt.log" 2>&1 || { cat "$room/apt.log" >&2; fail "apt removes it"; }
left="$(ours)"
[ -z "$left" ] || fail "removing leaves nothing behind: $left"
holds "removing leaves nothing behind"
