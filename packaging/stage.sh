#!/usr/bin/env bash
# Lays out what a package installs, as target/packaging/stage: `stage.sh BINARY [TARGET]`, TARGET being the Rust target triple
# of the binary (this machine's when absent). Manual pages and completions come from the binary itself, or, where it cannot run
# here (another processor), from the one that LLMTOR_RUNNABLE names. The same input makes the same files, byte for byte.
set -euo pipefail
binary="$(realpath "${1:?stage.sh BINARY [TARGET]}")"
cd "$(dirname "$0")/.."
target="${2:-$(rustc -vV | sed -n 's/^host: //p')}"
program="$(realpath "${LLMTOR_RUNNABLE:-$binary}")"

version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"
said="$("$program" --version)"
[ "$said" = "llmtor $version" ] || { echo "$program says '$said', and Cargo.toml says $version: build it anew" >&2; exit 1; }
noted="$(sed -n '1s/^llmtor (\(.*\)-[0-9]*) .*/\1/p' packaging/debian/changelog)"
[ "$noted" = "$version" ] || { echo "packaging/debian/changelog begins with $noted: write the entry of $version" >&2; exit 1; }

stage=target/packaging/stage
rm -rf "$stage"
doc="$stage/usr/share/doc/llmtor" share="$stage/usr/share"
mkdir -p "$doc" "$share"/{applications,bash-completion/completions,fish/vendor_completions.d,lintian/overrides,man/man1,metainfo} \
    "$share/zsh/site-functions" "$stage/usr/bin" "$stage/usr/lib/systemd/user" "$stage"/{deb,rpm/doc,rpm/licenses}
put() { install -m 644 -t "$@"; }

install -m 755 "$binary" "$stage/usr/bin/llmtor"
put "$stage/usr/lib/systemd/user" packaging/systemd/llmtor.service packaging/systemd/llmtor.socket
put "$share/applications" packaging/desktop/*.desktop
put "$share/metainfo" packaging/metainfo/*.xml
(cd packaging/icons && find hicolor -name '*.png' -exec install -D -m 644 {} "../../$share/icons/{}" \;)
install -D -m 644 packaging/icons/llmtor.svg "$share/icons/hicolor/scalable/apps/llmtor.svg"

# A home of its own, which stays empty: nothing of the builder's may be asked, or told.
room="$(mktemp -d)"; trap 'rm -rf "$room"' EXIT
ask() { HOME="$room" LLMTOR_HOME="$room/home" "$program" "$@"; }
ask man --dir "$share/man/man1" >/dev/null
ask completions bash >"$share/bash-completion/completions/llmtor"
ask completions zsh >"$share/zsh/site-functions/_llmtor"
ask completions fish >"$share/fish/vendor_completions.d/llmtor.fish"

put "$doc" README.md SECURITY.md config/llmtor.example.toml config/backend.example.toml
install -m 644 CHANGELOG.md "$doc/changelog"
install -m 644 packaging/debian/changelog "$doc/changelog.Debian"
put "$share/lintian/overrides" packaging/debian/overrides/llmtor
packaging/licences.py "$target" --copyright "$stage/deb/copyright" --texts "$doc/third-party-licences.txt"
cp "$doc"/{README.md,SECURITY.md,changelog,*.toml} "$stage/rpm/doc/"
cp LICENSE-* "$doc/third-party-licences.txt" "$stage/rpm/licenses/"

gzip -9n "$share"/man/man1/*.1 "$doc"/{changelog,changelog.Debian,third-party-licences.txt,SECURITY.md,README.md}
find "$stage" -type d -exec chmod 755 {} +
