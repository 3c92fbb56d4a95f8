"""The official package over /v1/chat/completions: plain, streamed, tools, structured output, the helpers, async."""

import asyncio
import json

from common import CITIES, MODEL, SAY, TOOL, WHO, WORDS, Verdict, get_temperature, is_answered, weather
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

TOOLS = [{"type": "function", "function": {**TOOL, "strict": True}}]
# A red pixel.
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5"
    "ErkJggg=="
)


class Person(BaseModel):
    name: str
    born: int


def ask(question):
    return {"model": MODEL, "messages": [{"role": "user", "content": question}]}


def answer_calls(messages, message):
    """The conversation with the results of the calls in `message`."""
    messages.append(message)
    for call in message.tool_calls:
        arguments = json.loads(call.function.arguments)
        result = get_temperature(**arguments)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def plain(client, verdict):
    models = [model.id for model in client.models.list()]
    verdict.holds("models", MODEL in models and client.models.retrieve(MODEL).id == MODEL)

    answer = client.chat.completions.create(**ask(SAY), temperature=0.2, user="somebody")
    verdict.holds("plain", answer.choices[0].message.content == WORDS and answer.usage.total_tokens > 0)

    parts = [{"type": "text", "text": SAY}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    answer = client.chat.completions.create(**ask(parts))
    verdict.holds("image parts", answer.choices[0].message.content == WORDS)

    answer = client.chat.completions.create(**ask(SAY), n=2, stop=["teen"])
    verdict.holds("n and stop", [c.message.content for c in answer.choices] == ["kumquat seven"] * 2)

    answer = client.chat.completions.create(**ask(SAY), max_completion_tokens=1)
    cut = answer.choices[0]
    verdict.holds("max_completion_tokens", cut.finish_reason == "length" and WORDS.startswith(cut.message.content))


def streaming(client, verdict):
    chunks = list(client.chat.completions.create(**ask(SAY), stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    verdict.holds("stream", text == WORDS and chunks[-1].usage.total_tokens > 0 and not chunks[-1].choices)

    with client.chat.completions.stream(**ask(SAY)) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    verdict.holds(".stream", "".join(deltas) == WORDS == final.choices[0].message.content)


def structured(client, verdict):
    answer = client.chat.completions.parse(**ask(WHO), response_format=Person)
    verdict.holds(".parse", answer.choices[0].message.parsed == Person(name="Ada Lovelace", born=1815))

    with client.chat.completions.stream(**ask(WHO), response_format=Person) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    verdict.holds(".stream of a schema", parsed == Person(name="Ada Lovelace", born=1815))

    answer = client.chat.completions.create(**ask(f"{WHO} Answer in JSON."), response_format={"type": "json_object"})
    verdict.holds("json_object", json.loads(answer.choices[0].message.content)["born"] == 1815)


def tools(client, verdict):
    request = ask(weather(*CITIES))
    answer = client.chat.completions.create(**request, tools=TOOLS)
    choice = answer.choices[0]
    verdict.holds("parallel calls", choice.finish_reason == "tool_calls" and len(choice.message.tool_calls) == 2)
    assert choice.message.content is None
    answer_calls(request["messages"], choice.message)
    answer = client.chat.completions.create(**request, tools=TOOLS)
    verdict.holds("tool loop", is_answered(answer.choices[0].message.content, *CITIES))

    request = ask(weather("Oslo"))
    with client.chat.completions.stream(**request, tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.parsed_arguments == {"city": "Oslo"}
    answer_calls(request["messages"], message)
    with client.chat.completions.stream(**request, tools=TOOLS, tool_choice="none") as stream:
        text = stream.get_final_completion().choices[0].message.content
    verdict.holds("streamed tool loop", is_answered(text, "Oslo"))

    named = {"type": "function", "function": {"name": "get_temperature"}}
    answer = client.chat.completions.create(
        **ask(weather(*CITIES)), tools=TOOLS, tool_choice=named, parallel_tool_calls=False
    )
    verdict.holds("a named tool", len(answer.choices[0].message.tool_calls) == 1)


async def asynchronous(verdict):
    async with AsyncOpenAI(max_retries=0) as client:
        completions = client.chat.completions
        answers = await asyncio.gather(*(completions.create(**ask(SAY)) for _ in range(3)))
        verdict.holds("async", all(answer.choices[0].message.content == WORDS for answer in answers))
        stream = await completions.create(**ask(SAY), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        verdict.holds("async stream", text == WORDS)


def main():
    verdict = Verdict("openai")
    # No retries: what fails shows.
    client = OpenAI(max_retries=0)
    plain(client, verdict)
    streaming(client, verdict)
    structured(client, verdict)
    tools(client, verdict)
    asyncio.run(asynchronous(verdict))
    verdict.say()


main()
