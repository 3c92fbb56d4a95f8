#!/usr/bin/env bash
# Builds packages: `packaging/build.sh deb|rpm|all [--binary FILE] [--target TRIPLE] [--out DIR]`.
# Without --binary the program is compiled first (a release build takes some minutes). They land in target/packaging, or DIR.
# Needs Rust, Python 3 and, for the deb, Debian's dpkg-dev; cargo-deb and cargo-generate-rpm are installed into target/ci/cargo
# at the versions below unless they are there. The same commit makes the same packages (SOURCE_DATE_EPOCH is its time unless set).
set -euo pipefail
usage() { sed -n '2,5s/^# //p' "$0"; exit "$1"; }
what="${1:-}"; [ $# -eq 0 ] || shift
case "$what" in deb | rpm | all) ;; -h | --help) usage 0 ;; *) usage 2 >&2 ;; esac
binary='' target="$(rustc -vV | sed -n 's/^host: //p')" out=''
while [ $# -gt 0 ]; do
    case "$1" in
        --binary) binary="$(realpath "$2")"; shift 2 ;;
        --target) target="$2"; shift 2 ;;
        --out) mkdir -p "$2"; out="$(realpath "$2")"; shift 2 ;;
        *) usage 2 >&2 ;;
    esac
done
cd "$(dirname "$0")/.."
out="${out:-$PWD/target/packaging}"
mkdir -p "$out"
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date -d "$(sed -n 's/^ -- .*>  //p' packaging/debian/changelog | head -1)" +%s)}"
export SOURCE_DATE_EPOCH
umask 022

tools="$PWD/target/ci/cargo"
# They only copy and compress: hardly optimised they are compiled in half the time. The compressors, which are C, are optimised.
tool() {
    [ "$("$tools/bin/$1" --version 2>/dev/null | grep -o '[0-9.]*$')" = "$2" ] && return
    echo "installing $1 $2 into $tools" >&2
    CFLAGS=-O3 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install --quiet --locked --root "$tools" --target-dir "$tools/target" --version "$2" "$1" >&2
    rm -rf "$tools/target"
}

if [ -z "$binary" ]; then
    cargo build --locked --release --target "$target"
    binary="target/$target/release/llmtor"
fi
packaging/stage.sh "$binary" "$target"
# Any later time would be that of the build.
find target/packaging/stage -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

if [ "$what" != rpm ]; then
    tool cargo-deb 3.8.0
    # The debug symbols are stripped already, and the program is not to be compiled again.
    "$tools/bin/cargo-deb" deb --no-build --no-strip --locked --target "$target" --output "$out/"
fi
if [ "$what" != deb ]; then
    tool cargo-generate-rpm 0.21.1
    "$tools/bin/cargo-generate-rpm" generate-rpm --target "$target" --auto-req builtin --payload-compress zstd --output "$out/"
fi
