"""llm, the command: whole, streamed, continued, with a tool, with a schema."""

import json
import os
import subprocess
import sys
from pathlib import Path

from common import BASE_URL, KEY, MODEL, SAY, WHO, WORDS, Verdict, get_temperature, is_answered, weather

SETTINGS = f"""
- model_id: asked
  model_name: {MODEL}
  api_base: {BASE_URL}
  api_key_name: llmtor
  supports_tools: true
  supports_schema: true
"""
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
    (home / "extra-openai-models.yaml").write_text(SETTINGS)
    (home / "keys.json").write_text(json.dumps({"llmtor": KEY}))
    os.environ["LLM_USER_PATH"] = str(home)
    verdict.holds("stream", llm("-m", "asked", SAY) == WORDS)
    verdict.holds("--no-stream", llm("-m", "asked", "--no-stream", SAY) == WORDS)
    verdict.holds("-s and -c", llm("-m", "asked", "-c", "-s", "Be brief.", SAY) == WORDS)
    verdict.holds("--functions", is_answered(llm("-m", "asked", "--functions", FUNCTION, weather("Oslo")), "Oslo"))
    told = llm("-m", "asked", "--no-stream", "-T", "llm_version", "What does llm_version say?")
    verdict.holds("-T", verdict.versions["llm"] in told)
    person = json.loads(llm("-m", "asked", "--schema", "name, born int", WHO))
    verdict.holds("--schema", person == {"name": "Ada Lovelace", "born": 1815})
    verdict.say()


main()
