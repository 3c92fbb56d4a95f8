#!/usr/bin/env python3
"""Checks what cannot be run where packages are built: container files, Homebrew, winget, Nix, workflows; and that versions agree.

Needs hadolint, check-jsonschema and zizmor (.ci/requirements.txt), ruby, and nix-instantiate (Debian's nix-bin).
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as xml
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
WRONG = []


def holds(what, condition, why=""):
    print(f"holds: {what}" if condition else f"does not hold: {what}{': ' if why else ''}{why}", file=sys.stdout if condition else sys.stderr)
    if not condition:
        WRONG.append(what)


def says(what, *command):
    """That a checker ends well."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except FileNotFoundError:
        return holds(what, False, f"{command[0]} is not installed")
    return holds(what, done.returncode == 0, done.stdout + done.stderr)


def versions():
    metainfo = xml.parse(PACKAGING / "metainfo/io.github.llmtor.llmtor.metainfo.xml").getroot()
    debian = re.match(r"llmtor \((.*)-\d+\)", (PACKAGING / "debian/changelog").read_text())
    said = {
        "Cargo.toml": PACKAGE["version"],
        "packaging/debian/changelog": debian and debian[1],
        "packaging/metainfo": metainfo.find("releases/release").get("version"),
    }
    holds("one version everywhere", len(set(said.values())) == 1, str(said))
    holds("AppStream has the address of Cargo.toml", metainfo.findtext("url[@type='homepage']") == PACKAGE["repository"])
    holds("Debian's copyright has the address of Cargo.toml",
          f"Source: {PACKAGE['repository']}\n" in (PACKAGING / "debian/copyright").read_text())
    holds("a package manager's summary is short enough", len(PACKAGE["description"]) < 80)


def containers():
    docker = PACKAGING / "docker"
    says("hadolint finds nothing in the Dockerfile", "hadolint", str(docker / "Dockerfile"))
    stages = re.split(r"(?m)^FROM .* AS (\w+)$", (docker / "Dockerfile").read_text())
    stages = dict(zip(stages[1::2], stages[2::2]))
    holds("the images are not run by root", "\nUSER 65532:65532\n" in stages["base"]
          and not any("USER" in stages[name] for name in ("backend", "daemon")))
    for name in ("backend", "daemon"):
        holds(f"the {name}'s health is asked for without a shell", 'CMD ["/usr/bin/healthy"' in stages[name])
        holds(f"the {name} starts without a shell", 'ENTRYPOINT ["/usr/bin/llmtor"]' in stages[name])
    holds("the daemon's image exposes no port", "EXPOSE" not in re.sub(r"(?m)^#.*$", "", stages["daemon"]))
    for name in ("backend", "daemon"):
        file = docker / f"compose.{name}.yaml"
        says(f"{file.name} is a compose file", "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))
        service = yaml.safe_load(file.read_text())["services"][name]
        holds(f"{file.name} publishes to this machine alone",
              all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])))
        holds(f"{file.name} keeps its home", any(str(volume).endswith(":/var/lib/llmtor") for volume in service["volumes"]))
        holds(f"{file.name} takes every capability away", service["cap_drop"] == ["ALL"] and service["read_only"] is True)
    daemon = yaml.safe_load((docker / "compose.daemon.yaml").read_text())["services"]["daemon"]
    holds("the daemon's container publishes nothing", "ports" not in daemon and daemon["network_mode"] == "host")


# What winget's schemas (1.6.0) demand of the fields that are used here; the schemas themselves are not in a registry.
WINGET = {
    "version": {"PackageIdentifier", "PackageVersion", "DefaultLocale", "ManifestType", "ManifestVersion"},
    "installer": {"PackageIdentifier", "PackageVersion", "Installers", "ManifestType", "ManifestVersion"},
    "defaultLocale": {"PackageIdentifier", "PackageVersion", "PackageLocale", "Publisher", "PackageName", "License",
                      "ShortDescription", "ManifestType", "ManifestVersion"},
}


def manifests():
    with tempfile.TemporaryDirectory() as room:
        room = Path(room)
        version = PACKAGE["version"]
        sums = room / "SHA256SUMS"
        sums.write_text(f"{'0a' * 32}  llmtor-{version}.tar.gz\n{'0b' * 32}  llmtor-{version}-x86_64-pc-windows-msvc.zip\n")
        says("the templates are filled in", "packaging/manifests.py", "--sums", str(sums), "--date", "2026-01-02", "--out", str(room))
        formula = room / "homebrew/llmtor.rb"
        says("the formula is Ruby", "ruby", "-c", str(formula))
        text = formula.read_text()
        holds("the formula has its checksum", f'sha256 "{"0a" * 32}"' in text and not re.search(r"@[A-Z]", text))
        # brew audit: at most 80 characters, no article, no full stop, not the name.
        described = re.search(r'desc "(.*)"', text)[1]
        holds("brew takes the description", len(described) <= 80 and not re.match(r"(?i)(an?|the|llmtor) ", described)
              and not described.endswith("."))
        kinds = {}
        for file in sorted((room / "winget").glob("*.yaml")):
            manifest = yaml.safe_load(file.read_text())
            kinds[manifest["ManifestType"]] = manifest
            missing = WINGET[manifest["ManifestType"]] - manifest.keys()
            holds(f"{file.name} is complete", not missing and "@" not in file.read_text().replace("@@", ""), str(missing))
        holds("winget has its three manifests", kinds.keys() == WINGET.keys())
        holds("winget's manifests are of one package", len({(m["PackageIdentifier"], str(m["PackageVersion"])) for m in kinds.values()}) == 1)
        installer = (kinds["installer"].get("Installers") or [{"InstallerSha256": "", "InstallerUrl": ""}])[0]
        holds("winget's checksum and address are the release's", re.fullmatch(r"[0-9A-F]{64}", str(installer["InstallerSha256"])) is not None
              and installer["InstallerUrl"].endswith(f"/v{version}/llmtor-{version}-x86_64-pc-windows-msvc.zip"))
        holds("winget takes the short description", 3 <= len(kinds["defaultLocale"]["ShortDescription"]) <= 256)
        sums.write_text(sums.read_text().splitlines()[0] + "\n")
        done = subprocess.run([PACKAGING / "manifests.py", "--sums", sums, "--date", "2026-01-02", "--out", room], capture_output=True, text=True)
        holds("a missing checksum is an error that names the file", done.returncode != 0 and "windows-msvc.zip" in done.stderr)


# Enough of nixpkgs to have the flake's outputs computed.
FLAKE = """
let
  flake = import %s;
  names = set: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) set);
  system = name: { callPackage = file: _: assert builtins.isFunction (import file); "/package"; stdenv.hostPlatform.system = name; };
  self = flake.outputs { inherit self; nixpkgs = { lib.genAttrs = names; legacyPackages = names self.systems system; }; }
    // { systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ]; };
in builtins.toJSON { inherit (self) packages apps; }
"""


def nix():
    for file in [ROOT / "flake.nix", *sorted((PACKAGING / "nix").glob("*.nix"))]:
        says(f"{file.name} is Nix", "nix-instantiate", "--parse", str(file))
    with tempfile.TemporaryDirectory() as room:
        store = ["--store", f"dummy://", "--option", "sandbox", "false"]
        done = subprocess.run(["nix-instantiate", "--eval", "--strict", "--json", *store, "-E", FLAKE % (ROOT / "flake.nix")],
                              capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": room})
        outputs = json.loads(json.loads(done.stdout)) if done.returncode == 0 else {}
        holds("the flake has a package and an app for each system",
              all(outputs.get("apps", {}).get(system, {}).get("default", {}).get("program") == "/package/bin/llmtor"
                  for system in ("x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin")), done.stderr)


def workflows():
    for file in sorted((ROOT / ".github/workflows").glob("*.yml")):
        says(f"{file.name} is a workflow", "check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(file))
        says(f"zizmor finds nothing in {file.name}", "zizmor", "--offline", "--quiet", "--config", ".github/zizmor.yml", str(file))
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            for step in job["steps"]:
                for script in re.findall(r"(?<![\w/])packaging/[\w.-]+", step.get("run", "")):
                    holds(f"{file.name}, {name}: {script} is there and can be run", os.access(ROOT / script, os.X_OK))


for check in (versions, containers, manifests, nix, workflows):
    check()
sys.exit(1 if WRONG else 0)
