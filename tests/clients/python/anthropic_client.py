"""The official anthropic package: created, streamed, a tool loop, counted, and its own classes for errors."""

import os

import anthropic
from anthropic import Anthropic
from common import CITIES, MODEL, SAY, TOOL, WORDS, Verdict, get_temperature, is_answered, weather

TOOLS = [
    {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]},
]


def ask(question):
    return {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": question}]}


def answer_calls(messages, message):
    """Appends what came and the results of its calls."""
    messages.append({"role": "assistant", "content": message.content})
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": get_temperature(**block.input)}
        for block in message.content
        if block.type == "tool_use"
    ]
    messages.append({"role": "user", "content": results})


def errors(client, verdict):
    wrong = Anthropic(api_key=f"{os.environ['ANTHROPIC_API_KEY']}x")
    failures = {
        anthropic.AuthenticationError: (wrong, ask(SAY)),
        anthropic.NotFoundError: (client, {**ask(SAY), "model": "claude-0"}),
        anthropic.BadRequestError: (client, ask("Fail with context")),
        anthropic.RateLimitError: (client, ask("Fail with rate")),
        anthropic.InternalServerError: (client, ask("Fail with outage")),
    }
    for kind, (asked, request) in failures.items():
        try:
            asked.messages.create(**request)
        except anthropic.APIStatusError as error:
            assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
            assert error.body["type"] == "error" and error.body["error"]["message"], error.body
            verdict.holds(kind.__name__)
        else:
            raise AssertionError(f"no {kind.__name__}")
    try:
        with client.messages.stream(**ask("Fail late with rate")) as stream:
            stream.until_done()
    except anthropic.APIStatusError as error:
        verdict.holds("an error in a stream", error.body["error"]["type"] == "rate_limit_error")
    else:
        raise AssertionError("a stream that fails did not")


def main():
    verdict = Verdict("anthropic")
    client = Anthropic(max_retries=0)
    answer = client.messages.create(**ask(SAY), system="Be brief.")
    verdict.holds("messages", answer.content[0].text == WORDS and answer.stop_reason == "end_turn")
    with client.messages.stream(**ask(SAY)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    verdict.holds("stream", text == WORDS == final.content[0].text and final.usage.output_tokens > 0)

    request = ask(weather(*CITIES))
    message = client.messages.create(**request, tools=TOOLS)
    assert message.stop_reason == "tool_use"
    answer_calls(request["messages"], message)
    answer = client.messages.create(**request, tools=TOOLS)
    verdict.holds("tool loop", is_answered(answer.content[0].text, *CITIES))

    request = ask(weather("Oslo"))
    with client.messages.stream(**request, tools=TOOLS) as stream:
        message = stream.get_final_message()
    answer_calls(request["messages"], message)
    with client.messages.stream(**request, tools=TOOLS) as stream:
        verdict.holds("streamed tool loop", is_answered(stream.get_final_text(), "Oslo"))

    counted = client.messages.count_tokens(model=MODEL, messages=ask(SAY)["messages"])
    verdict.holds("count_tokens", counted.input_tokens > 0)
    errors(client, verdict)
    verdict.say()


main()
