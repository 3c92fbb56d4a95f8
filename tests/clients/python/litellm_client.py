"""litellm as a client: completed, streamed, with a tool, with a schema, and its own class for an error."""

import asyncio
import json

import litellm
from common import BASE_URL, CITIES, KEY, MODEL, SAY, TOOL, WHO, WORDS, Verdict, get_temperature, is_answered, weather
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    born: int


def ask(question, **more):
    return {
        "model": f"openai/{MODEL}",
        "api_base": BASE_URL,
        "api_key": KEY,
        "messages": [{"role": "user", "content": question}],
        "num_retries": 0,
        **more,
    }


def main():
    verdict = Verdict("litellm")
    answer = litellm.completion(**ask(SAY))
    verdict.holds("completion", answer.choices[0].message.content == WORDS)
    chunks = list(litellm.completion(**ask(SAY, stream=True, stream_options={"include_usage": True})))
    verdict.holds("stream", "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == WORDS)
    answer = asyncio.run(litellm.acompletion(**ask(SAY)))
    verdict.holds("acompletion", answer.choices[0].message.content == WORDS)

    request = ask(weather(*CITIES), tools=[{"type": "function", "function": TOOL}])
    message = litellm.completion(**request).choices[0].message
    request["messages"].append(message)
    for call in message.tool_calls:
        result = get_temperature(**json.loads(call.function.arguments))
        request["messages"].append({"role": "tool", "tool_call_id": call.id, "content": result})
    text = litellm.completion(**request).choices[0].message.content
    verdict.holds("tool loop", is_answered(text, *CITIES))

    answer = litellm.completion(**ask(WHO, response_format=Person))
    verdict.holds("response_format", Person.model_validate_json(answer.choices[0].message.content).born == 1815)
    verdict.holds("responses", WORDS in str(litellm.responses(**{**ask(SAY), "input": SAY}).output[0].content[0].text))

    try:
        litellm.completion(**{**ask(SAY), "model": "openai/gpt-0"})
    except litellm.NotFoundError as error:
        verdict.holds("NotFoundError", error.status_code == 404)
    verdict.say()


main()
