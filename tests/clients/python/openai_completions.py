"""The official package over /v1/completions, which older programs use: whole, several prompts, streamed."""

from common import MODEL, SAY, WORDS, Verdict
from openai import OpenAI


def main():
    verdict = Verdict("openai")
    completions = OpenAI(max_retries=0).completions
    answer = completions.create(model=MODEL, prompt=SAY, max_tokens=100)
    verdict.holds("create", answer.choices[0].text == WORDS and answer.usage.total_tokens > 0)
    answer = completions.create(model=MODEL, prompt=[SAY, SAY], max_tokens=100)
    verdict.holds("prompts", [choice.text for choice in answer.choices] == [WORDS] * 2)
    chunks = completions.create(model=MODEL, prompt=SAY, max_tokens=100, stream=True)
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    verdict.holds("stream", text == WORDS)
    verdict.say()


main()
