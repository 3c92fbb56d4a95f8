#!/usr/bin/env bash
# Packs a release build for those without a package: `archive.sh TARGET DIR` makes DIR/llmtor-VERSION-TARGET.tar.gz, or .zip for
# Windows, with the program, its licences, and, except for Windows, its manual pages and completions. The program has to run here.
set -euo pipefail
target="${1:?archive.sh TARGET DIR}"
mkdir -p "${2:?archive.sh TARGET DIR}"
into="$(cd "$2" && pwd)"
cd "$(dirname "$0")/.."
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"
name="llmtor-$version-$target"
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
mkdir "$room/$name"
cp README.md SECURITY.md CHANGELOG.md LICENSE-* config/llmtor.example.toml "$room/$name/"
python="$(command -v python3 || command -v python)"
"$python" packaging/licences.py "$target" --copyright "$room/copyright" --texts "$room/$name/THIRD-PARTY-LICENCES.txt"
case "$target" in
    *windows*)
        cp "target/$target/release/llmtor.exe" "$room/$name/"
        # winget looks for the program at the top of the archive.
        (cd "$room/$name" && "$python" -m zipfile -c "$into/$name.zip" *)
        ;;
    *)
        program="target/$target/release/llmtor"
        cp "$program" "$room/$name/"
        mkdir "$room/$name"/{man,completions}
        HOME="$room" "$program" man --dir "$room/$name/man" >/dev/null
        for shell in bash zsh fish; do HOME="$room" "$program" completions "$shell" >"$room/$name/completions/llmtor.$shell"; done
        tar -C "$room" -cf - "$name" | gzip -9n >"$into/$name.tar.gz"
        ;;
esac
