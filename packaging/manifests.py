#!/usr/bin/env python3
"""Fills in the Homebrew formula and the winget manifests of a release.

    manifests.py --sums SHA256SUMS --date YYYY-MM-DD --out DIR

Version, description and address come from Cargo.toml. SHA256SUMS is the release's own file; the lines of the source archive and of
the Windows archive must be in it.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent


def checksum(sums, name):
    for line in sums.splitlines():
        digest, _, of = line.partition("  ")
        if of == name and re.fullmatch(r"[0-9a-f]{64}", digest):
            return digest
    sys.exit(f"the checksums have no line for {name}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sums", required=True, type=Path)
    arguments.add_argument("--date", required=True)
    arguments.add_argument("--out", required=True, type=Path)
    given = arguments.parse_args()
    package = tomllib.loads((HERE.parent / "Cargo.toml").read_text())["package"]
    version, sums = package["version"], given.sums.read_text()
    values = {
        "VERSION": version,
        "DESCRIPTION": package["description"],
        "HOMEPAGE": package["repository"],
        "DATE": given.date,
        "SHA256_SOURCE": checksum(sums, f"llmtor-{version}.tar.gz"),
        "SHA256_WINDOWS": checksum(sums, f"llmtor-{version}-x86_64-pc-windows-msvc.zip").upper(),
    }
    for template in [HERE / "homebrew/llmtor.rb.in", *sorted((HERE / "winget").glob("*.in"))]:
        into = given.out / template.parent.name / template.stem
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(re.sub(r"@([A-Z0-9_]+)@", lambda found: values[found[1]], template.read_text()))


main()
