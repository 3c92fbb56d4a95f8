"""llm, the command, as `llmtor setup llm` sets it up: whole, streamed, continued, with a tool, with a schema."""

import json
import os
import subprocess
import sys
from pathlib import Path

from common import MODEL, SAY, WHO, WORDS, Verdict, get_temperature, is_answered, set_up, weather

FUNCTION = f"""
def get_temperature(city: str) -> str:
    "The temperature in a city."
    return {get_temperature("Oslo")!r}
"""


def llm(*arguments):
    """What the command says."""
    command = [Path(sys.executable).with_name("llm"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def main():
    verdict = Verdict("llm")
    home = Path(os.environ["HOME"], "llm")
    home.mkdir(exist_ok=True)
    os.environ["LLM_USER_PATH"] = str(home)
    set_up("llm")
    verdict.holds("the default of llmtor setup", llm("models", "default") == f"llmtor/{MODEL}")
    verdict.holds("stream", llm(SAY) == WORDS)
    verdict.holds("--no-stream", llm("--no-stream", SAY) == WORDS)
    verdict.holds("-s and -c", llm("-c", "-s", "Be brief.", SAY) == WORDS)
    verdict.holds("--functions", is_answered(llm("--functions", FUNCTION, weather("Oslo")), "Oslo"))
    told = llm("--no-stream", "-T", "llm_version", "What does llm_version say?")
    verdict.holds("-T", verdict.versions["llm"] in told)
    person = json.loads(llm("--schema", "name, born int", WHO))
    verdict.holds("--schema", person == {"name": "Ada Lovelace", "born": 1815})
    set_up("llm", "--undo")
    verdict.holds("and back", not list(home.glob("*.yaml")) and not (home / "keys.json").exists())
    verdict.say()


main()
