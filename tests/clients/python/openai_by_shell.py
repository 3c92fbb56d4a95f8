"""openai, in a shell that `llmtor setup env` has set up: nothing else says where to go."""

import os
import subprocess
import sys
from pathlib import Path

from common import MODEL, SAY, WORDS, Verdict, set_up

PROGRAM = f"""
import openai
answer = openai.OpenAI().chat.completions.create(model={MODEL!r}, messages=[{{"role": "user", "content": {SAY!r}}}])
print(answer.choices[0].message.content)
"""


def main():
    verdict = Verdict("openai")
    home = Path(os.environ["HOME"])
    profile = home / ".profile"
    # As of somebody whose programs are in a directory of their own: the system's profile begins with its own path.
    mine = f"# mine\nexport MINE=yes\nPATH='{Path(os.environ['LLMTOR']).parent}':\"$PATH\"\n"
    profile.write_text(mine)
    set_up("env")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    command = ["sh", "-l", "-c", 'test "$MINE" = yes && exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=inherited)
    assert done.returncode == 0, done.stderr
    verdict.holds("a login shell after llmtor setup env", done.stdout.strip() == WORDS)
    set_up("env", "--undo")
    verdict.holds("and back", profile.read_text() == mine)
    verdict.say()


main()
