"""The official ollama package: chat, streamed, a tool loop, a schema, generate, list, show, and its error class."""

import asyncio

import ollama
from common import CITIES, MODEL, SAY, WHO, WORDS, Verdict, get_temperature, is_answered, weather
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    born: int


def ask(question):
    return {"model": MODEL, "messages": [{"role": "user", "content": question}]}


def main():
    verdict = Verdict("ollama")
    client = ollama.Client()
    listed = [model.model.removesuffix(":latest") for model in client.list().models]
    verdict.holds("list", MODEL in listed)
    verdict.holds("show", "completion" in client.show(MODEL).capabilities)

    answer = client.chat(**ask(SAY))
    verdict.holds("chat", answer.message.content == WORDS and answer.done)
    parts = list(client.chat(**ask(SAY), stream=True))
    verdict.holds("stream", "".join(part.message.content or "" for part in parts) == WORDS and parts[-1].done)
    answer = asyncio.run(ollama.AsyncClient().chat(**ask(SAY)))
    verdict.holds("async", answer.message.content == WORDS)

    for stream in (False, True):
        request = ask(weather(*CITIES))
        answer = client.chat(**request, tools=[get_temperature], stream=stream)
        calls = [call for part in (answer if stream else [answer]) for call in part.message.tool_calls or []]
        request["messages"].append({"role": "assistant", "content": "", "tool_calls": calls})
        for call in calls:
            result = get_temperature(**call.function.arguments)
            request["messages"].append({"role": "tool", "tool_name": call.function.name, "content": result})
        answer = client.chat(**request, tools=[get_temperature])
        verdict.holds("streamed tool loop" if stream else "tool loop", is_answered(answer.message.content, *CITIES))

    answer = client.chat(**ask(WHO), format=Person.model_json_schema())
    verdict.holds("format", Person.model_validate_json(answer.message.content).born == 1815)
    verdict.holds("generate", client.generate(model=MODEL, prompt=SAY).response == WORDS)
    text = "".join(part.response for part in client.generate(model=MODEL, prompt=SAY, stream=True))
    verdict.holds("streamed generate", text == WORDS)

    failures = {404: {**ask(SAY), "model": "gpt-0"}, 429: ask("Fail with rate")}
    for status, request in failures.items():
        try:
            client.chat(**request)
        except ollama.ResponseError as error:
            verdict.holds(f"ResponseError {status}", error.status_code == status and error.error)
        else:
            raise AssertionError(f"no ResponseError {status}")
    verdict.say()


main()
