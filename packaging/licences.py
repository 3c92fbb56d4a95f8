#!/usr/bin/env python3
"""Whose work is in the program: Debian's copyright file (DEP-5) and a file of licence texts, both from cargo's metadata.

    licences.py TARGET --copyright FILE --texts FILE

Only what is linked for TARGET (a Rust target triple) is named; build scripts, procedural macros and tests are not linked.
A crate without a licence, or one whose text Debian has not and this script knows no crate to take it from, is an error.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Debian has these in /usr/share/common-licenses, and wants them pointed at rather than repeated.
COMMON = {
    "Apache-2.0": "Apache-2.0",
    "CC0-1.0": "CC0-1.0",
    "GPL-2.0-only": "GPL-2",
    "LGPL-2.1-or-later": "LGPL-2.1",
    "LGPL-3.0-or-later": "LGPL-3",
    "MPL-2.0": "MPL-2.0",
}
# By which words a licence's own text is recognised in a crate's file.
KNOWN_BY = {
    "0BSD": "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",
    "BSD-2-Clause": "Redistributions in binary form must reproduce the above copyright notice",
    "BSD-3-Clause": "Neither the name of",
    "BSL-1.0": "Boost Software License",
    "CDLA-Permissive-2.0": "Community Data License Agreement",
    "ISC": "Permission to use, copy, modify, and/or distribute this software for any",
    "MIT": "Permission is hereby granted, free of charge",
    "MIT-0": "Permission is hereby granted, free of charge",
    "Unicode-3.0": "UNICODE LICENSE V3",
    "Unlicense": "This is free and unencumbered software released into the public domain",
    "Zlib": "This software is provided 'as-is', without any express or implied",
}
LICENCE_FILE = re.compile(r"^(licen[cs]es?|copying|copyright|notice|unlicense|patents)([-_.].*)?$", re.IGNORECASE)


def linked(target):
    """The packages whose code is linked into the program, but our own."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=HERE.parent).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = metadata["resolve"]["root"]

    def is_macro(identity):
        return any("proc-macro" in made["kind"] for made in packages[identity]["targets"])

    seen, ahead = set(), [own]
    while ahead:
        identity = ahead.pop()
        if identity in seen or is_macro(identity):
            continue
        seen.add(identity)
        ahead += [
            dependency["pkg"]
            for dependency in nodes[identity]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
    return sorted((packages[i] for i in seen - {own}), key=lambda package: (package["name"], package["version"]))


def expression(package):
    """The licence as SPDX writes it; older crates write a slash for "or"."""
    said = package["license"]
    if not said:
        sys.exit(f"{package['name']} {package['version']} names no licence: look at it, and add it here")
    return re.sub(r"\s*/\s*", " OR ", said)


def debian_expression(spdx):
    words = spdx.replace("(", "").replace(")", "").replace(" WITH ", "_with_")
    words = re.sub(r"\bOR\b", "or", words)
    # A comma binds an "and" looser than an "or" (DEP-5, 7.2).
    words = re.sub(r" AND ", ", and " if " or " in words else " and ", words)
    return words.replace("_with_LLVM-exception", " with LLVM exception")


def names_of(debian):
    return [name.removesuffix(" with LLVM exception") for name in re.split(r",? and | or ", debian)]


def texts_of(package):
    """Every licence file in a crate, with what it vendors; not those of its tests."""
    root = Path(package["manifest_path"]).parent
    found = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.is_file() and LICENCE_FILE.match(path.name) and path.suffix not in {".rs", ".py", ".h", ".c", ".toml", ".json"} \
                and not {"test", "tests", "target"} & set(inside.parts[:-1]) and path.stat().st_size < 200_000:
            found.append((str(inside), path.read_text(errors="replace").replace("\r\n", "\n").strip("\n")))
    return found


def people(package):
    named = [author.strip() for author in package["authors"] if author.strip()]
    return ", ".join(named) or f"the authors of {package['name']}"


def indented(text):
    return "\n".join(" " + line.rstrip() if line.strip() else " ." for line in text.strip("\n").split("\n"))


def copyright_file(packages, texts):
    by_licence = defaultdict(list)
    for package in packages:
        by_licence[debian_expression(expression(package)), people(package)].append(f"{package['name']}-{package['version']}")
    parts = [(HERE / "debian/copyright").read_text().rstrip("\n")]
    for (licence, who), names in sorted(by_licence.items(), key=lambda item: item[1]):
        files = "\n ".join(f"crates/{name}/*" for name in sorted(set(names)))
        parts.append(f"Files: {files}\nCopyright: {who}\nLicense: {licence}")
    needed = {"MIT", "Apache-2.0", "CC0-1.0"} | {name for licence, _ in by_licence for name in names_of(licence)}
    for name in sorted(needed):
        if name in COMMON:
            body = f"On Debian systems the text is in /usr/share/common-licenses/{COMMON[name]}."
        elif name == "MIT":
            body = (HERE.parent / "LICENSE-MIT").read_text()
        else:
            body = sample(name, packages, texts)
        parts.append(f"License: {name}\n{indented(body)}")
    return "\n\n".join(parts) + "\n"


def sample(name, packages, texts):
    """The text of a licence, from a crate that has no other."""
    for package in sorted(packages, key=lambda package: len(names_of(debian_expression(expression(package))))):
        if name not in names_of(debian_expression(expression(package))):
            continue
        for _, text in texts[package["id"]]:
            if KNOWN_BY.get(name, "\0") in re.sub(r"\s+", " ", text) and len(text) < 8_000:
                return text
    sys.exit(f"no crate has the text of {name}: say in KNOWN_BY how to know it")


def texts_file(packages, texts):
    """Each text once, with all the crates that have it."""
    whose = defaultdict(list)
    for package in packages:
        for inside, text in texts[package["id"]]:
            whose[text].append(f"{package['name']} {package['version']} ({inside})")
    lines = ["What llmtor is linked with, and the licence files of each.", ""]
    lines += [f"{package['name']} {package['version']}: {expression(package)}" for package in packages]
    for text, owners in sorted(whose.items(), key=lambda item: item[1]):
        lines += ["", "=" * 78, *owners, "-" * 78, text]
    return "\n".join(lines) + "\n"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("target")
    arguments.add_argument("--copyright", required=True, type=Path)
    arguments.add_argument("--texts", required=True, type=Path)
    given = arguments.parse_args()
    packages = linked(given.target)
    texts = {package["id"]: texts_of(package) for package in packages}
    given.copyright.write_text(copyright_file(packages, texts))
    given.texts.write_text(texts_file(packages, texts))


main()
