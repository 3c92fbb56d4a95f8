"""One call with the official Python package: call.py plain|stream MODEL QUESTION."""

import sys

from openai import OpenAI

mode, model, question = sys.argv[1:]
# No retries: each call must be one redemption.
client = OpenAI(max_retries=0)
messages = [{"role": "user", "content": question}]
if mode == "stream":
    options = {"include_usage": True}
    parts = client.chat.completions.create(
        model=model, messages=messages, stream=True, stream_options=options, temperature=0.7
    )
    for part in parts:
        for choice in part.choices:
            print(choice.delta.content or "", end="")
    print()
else:
    answer = client.chat.completions.create(model=model, messages=messages, user="someone")
    print(answer.choices[0].message.content)
