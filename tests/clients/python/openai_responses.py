"""The official package over /v1/responses: created, streamed, parsed, with tools."""

import json

from common import CITIES, MODEL, SAY, TOOL, WHO, WORDS, Verdict, get_temperature, is_answered, weather
from openai import OpenAI
from pydantic import BaseModel

TOOLS = [{"type": "function", **TOOL, "strict": True}]


class Person(BaseModel):
    name: str
    born: int


ADA = Person(name="Ada Lovelace", born=1815)


def answer_calls(history, response):
    """The input of the next turn: what was, what came, and the results of the calls."""
    history += response.output
    for item in response.output:
        if item.type == "function_call":
            result = get_temperature(**json.loads(item.arguments))
            history.append({"type": "function_call_output", "call_id": item.call_id, "output": result})
    return history


def main():
    verdict = Verdict("openai")
    responses = OpenAI(max_retries=0).responses

    response = responses.create(model=MODEL, input=SAY, instructions="Be brief.", store=False)
    verdict.holds("create", response.output_text == WORDS and response.status == "completed")
    assert response.usage.total_tokens > 0

    events = list(responses.create(model=MODEL, input=SAY, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    verdict.holds("stream", text == WORDS and events[-1].type == "response.completed")

    with responses.stream(model=MODEL, input=[{"role": "user", "content": SAY}]) as stream:
        for _ in stream:
            pass
        verdict.holds(".stream", stream.get_final_response().output_text == WORDS)

    verdict.holds(".parse", responses.parse(model=MODEL, input=WHO, text_format=Person).output_parsed == ADA)
    with responses.stream(model=MODEL, input=WHO, text_format=Person) as stream:
        verdict.holds(".stream of a schema", stream.get_final_response().output_parsed == ADA)

    history = [{"role": "user", "content": weather(*CITIES)}]
    response = responses.create(model=MODEL, input=history, tools=TOOLS)
    answer_calls(history, response)
    assert sum(item.get("type") == "function_call_output" for item in history if isinstance(item, dict)) == 2
    response = responses.create(model=MODEL, input=history, tools=TOOLS)
    verdict.holds("tool loop", is_answered(response.output_text, *CITIES))

    history = [{"role": "user", "content": weather("Paris")}]
    with responses.stream(model=MODEL, input=history, tools=TOOLS) as stream:
        response = stream.get_final_response()
    answer_calls(history, response)
    with responses.stream(model=MODEL, input=history, tools=TOOLS) as stream:
        verdict.holds("streamed tool loop", is_answered(stream.get_final_response().output_text, "Paris"))
    verdict.say()


main()
