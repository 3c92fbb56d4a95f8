#!/usr/bin/env bash
# Somebody's first day: `first-day.sh FILE.deb BINARY`. A fresh Debian with a browser and opencode gets the deb; then two commands,
# `llmtor login` (in a real window, with an invite code typed into the reference backend's page) and `llmtor setup opencode`;
# then opencode writes a file by way of the model. BINARY is the reference backend, which runs outside. Needs what `.ci/run`
# installs: Chromium in the room comes from Debian, opencode from .ci/clients, playwright-core from tests/browser.
set -euo pipefail
deb="$(realpath "${1:?first-day.sh FILE.deb BINARY}")" binary="$(realpath "${2:?first-day.sh FILE.deb BINARY}")"
cd "$(dirname "$0")/../.."
. tests/packages/room.sh
fail() { echo "does not hold: $1" >&2; exit 1; }
holds() { echo "holds: $1"; }
read_json() { python3 -c 'import json,sys; print(json.loads(sys.stdin.readline())[sys.argv[1]])' "$1"; }
until_there() { for _ in $(seq 300); do [ ! -s "$1" ] || return 0; sleep 0.1; done; fail "$1 is written to"; }

opencode=target/ci/clients/node_modules/opencode-linux-x64-baseline/bin/opencode
[ -x "$opencode" ] || fail "opencode is there: run .ci/clients"
[ -d tests/browser/node_modules/playwright-core ] || fail "playwright-core is there: run npm ci in tests/browser"

layers
work="$(mktemp -d)"
children=()
finish() {
    leave
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# The world outside: a model, and a backend that sells its answers for tokens and lets people in by invitation.
python3 tests/packages/model.py >"$work/model" &
children+=($!)
until_there "$work/model"
model="$(read_json base_url <"$work/model")"
cat >"$work/backend.toml" <<END
[models."gpt-4.1"]
provider = "scripted"
[models."gpt-4.1-mini"]
provider = "scripted"
[providers.scripted]
base_url = "$model"
END
"$binary" --home "$work/backend" --json backend serve --listen 127.0.0.1:0 --config "$work/backend.toml" \
    >"$work/ready" 2>"$work/backend.log" &
children+=($!)
until_there "$work/ready"
backend="$(read_json base_url <"$work/ready")"
cp "$work/backend.toml" "$work/backend/backend.toml"
invite="$("$binary" --home "$work/backend" --json backend invite create alice --credits gpt-4.1=30 --credits gpt-4.1-mini=30 | read_json code)"

# The clean system. Its screen is a virtual one of this machine, reached by the network that is shared.
enter plain browser
inside root tee /usr/local/bin/opencode <"$opencode" >/dev/null
inside root chmod 755 /usr/local/bin/opencode
"$binary" --home "$work/backend" backend keys export | inside $person tee "/home/$person/keys.json" >/dev/null
Xvfb -displayfd 1 -screen 0 1280x1024x24 -nolisten unix -ac >"$work/screen" 2>/dev/null &
children+=($!)
until_there "$work/screen"
screen=":$(cat "$work/screen")"

inside root tee /tmp/llmtor.deb <"$deb" >/dev/null
inside root apt-get install -y -qq --no-install-recommends /tmp/llmtor.deb >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; fail "apt installs it"; }
holds "installed from the deb"

# The first command, with somebody at its window.
cat >"$work/login" <<END
#!/usr/bin/env bash
room_process=$room_process
$(declare -f inside)
inside $person DISPLAY=$screen llmtor "\$@"
END
chmod 755 "$work/login"
python3 - "$work/login" "$backend" "/proc/$room_process/root/home/$person/.local/share/llmtor/browser" "$invite" >"$work/order" <<'END'
import json, sys
program, backend, profiles, code = sys.argv[1:]
# The hands of somebody at the window: llmtor itself drives it over a pipe, and opens no port.
hands = 'login.browser_args=["--remote-debugging-port=0"]'
arguments = ["login", "--set", hands, "--backend", backend, "--keys", "keys.json", "--first-tokens", "15"]
environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
print(json.dumps({"program": program, "arguments": arguments, "environment": environment, "profiles": profiles, "act": "code", "code": code}))
END
node tests/browser/sign-in.mjs <"$work/order" >"$work/report" || { cat "$work/report" "$work/backend.log" >&2; fail "somebody signs in"; }
python3 - "$work/report" <<'END' || { cat "$work/report" >&2; fail "llmtor login ends well and leaves no profile"; }
import json, sys
report = json.load(open(sys.argv[1]))
assert report["exit"] == 0 and report["left"] == [] and report["listening"] is False, "how it ended"
assert "alice" in report["stdout"] + report["stderr"], "who signed in"
END
holds "llmtor login signs in, in a real window"

# The second command.
inside $person llmtor setup opencode --yes >"$work/setup" 2>&1 || { cat "$work/setup" >&2; fail "llmtor setup opencode ends well"; }
holds "llmtor setup opencode"

# The tool. What is switched off here is what would go to the network by itself: updates, lists of models, plugins.
inside $person mkdir -p "/home/$person/work"
printf 'registry=http://127.0.0.1:9/\nfetch-retries=0\n' | inside $person tee "/home/$person/.npmrc" >/dev/null
inside $person OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_LSP_DOWNLOAD=1 OPENCODE_DISABLE_DEFAULT_PLUGINS=1 \
    timeout 120 sh -c 'cd work && opencode run "Create the file greeting.txt with the text kumquat"' >"$work/said" 2>&1 </dev/null \
    || { cat "$work/said" "$work/setup" >&2; fail "opencode ends well"; }
[ "$(inside $person cat "/home/$person/work/greeting.txt")" = kumquat ] || { cat "$work/said" >&2; fail "opencode writes the file"; }
grep -q 'The file is there.' "$work/said" || { cat "$work/said" >&2; fail "opencode shows the answer after the result"; }
# By way of llmtor: nothing but model and messages came, and each call cost a token.
python3 - "${model%/v1}/shown" "$(inside $person llmtor --json status)" <<'END' || fail "every call went through llmtor and cost a token"
import json, sys, urllib.request
shown, status = json.load(urllib.request.urlopen(sys.argv[1])), json.loads(sys.argv[2])
assert len(shown) >= 2 and all(keys == ["messages", "model"] for keys in shown), shown
left = sum(stock["available"] for stock in status["models"].values())
assert left == 30 - len(shown), (left, shown)
END
holds "opencode completes a tool loop, with no other command"
