"""What the drivers share: the questions that the scripted model knows, and the verdict.

A driver does its tasks, asserts what came of them, and prints one line of JSON. A task that was not accomplished
is an AssertionError, so the exit code tells it too. Answers hold numbers that are drawn anew in each run: a right
answer has gone the whole way through the tool and back.
"""

import importlib.metadata
import json
import os
import random
import subprocess

MODEL = os.environ["LLMTOR_MODEL"]
BASE_URL = os.environ["OPENAI_BASE_URL"]
KEY = os.environ["OPENAI_API_KEY"]

WORDS = "kumquat seventeen"
SAY = f'Say exactly: "{WORDS}"'
WHO = "Who was Ada Lovelace, and when was she born?"
CITIES = ("Paris", "Oslo")
TEMPERATURES = {city: random.randrange(100, 1000) for city in CITIES}


def weather(*cities):
    """The question that takes one call of the tool for each city."""
    return "What is the temperature in " + " and in ".join(cities) + "?"


def get_temperature(city: str) -> str:
    """The temperature in a city.

    Args:
        city: The name of the city.
    """
    return f"{TEMPERATURES[city]} degrees in {city}"


TOOL = {
    "name": "get_temperature",
    "description": "The temperature in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def is_answered(text, *cities):
    """That `text` tells what the tool told of each city."""
    for city in cities:
        assert get_temperature(city) in text, text
    return True


def set_up(tool, *options):
    """Has llmtor write the settings of `tool`, as its users do."""
    command = [os.environ["LLMTOR"], "setup", tool, "--yes", *options]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr, "the key is shown"


class Verdict:
    """What a driver has proved."""

    def __init__(self, *packages):
        self.versions = {name: importlib.metadata.version(name) for name in packages}
        self.proved = []

    def holds(self, what, fact=True):
        """Notes `what`; its fact must be true."""
        assert fact, what
        self.proved.append(what)

    def say(self):
        """Prints the line that is read."""
        print(json.dumps({"versions": self.versions, "proved": self.proved}))
