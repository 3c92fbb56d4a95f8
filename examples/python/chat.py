"""The official Python package against llmtor. OPENAI_BASE_URL and OPENAI_API_KEY say where (`llmtor env`)."""

import os

from openai import OpenAI

client = OpenAI()
model = os.environ.get("MODEL", "gpt-4.1-mini")
messages = [{"role": "user", "content": "Count to 5, please."}]

# Plain.
answer = client.chat.completions.create(model=model, messages=messages)
print(answer.choices[0].message.content)
print(f"({answer.usage.total_tokens} tokens of text, one token of credit)")

# Streaming.
stream = client.chat.completions.create(
    model=model, messages=messages, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
