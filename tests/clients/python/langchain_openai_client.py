"""langchain-openai: invoked, streamed, with tools, with structured output by each of its methods."""

from common import CITIES, MODEL, SAY, WHO, WORDS, Verdict, get_temperature, is_answered, weather
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Person(BaseModel):
    """A person."""

    name: str
    born: int


ADA = Person(name="Ada Lovelace", born=1815)


def loop(model, *cities):
    """What is said in the end, with each call's result handed back."""
    measure = tool(get_temperature)
    model = model.bind_tools([measure])
    messages = [SystemMessage("Answer with the tool."), HumanMessage(weather(*cities))]
    answer = model.invoke(messages)
    assert [call["args"] for call in answer.tool_calls] == [{"city": city} for city in cities]
    messages += [answer, *(measure.invoke(call) for call in answer.tool_calls)]
    return model.invoke(messages).text


def main():
    verdict = Verdict("langchain-openai")
    model = ChatOpenAI(model=MODEL, max_retries=0)
    answer = model.invoke(SAY)
    verdict.holds("invoke", answer.text == WORDS and answer.usage_metadata["total_tokens"] > 0)
    verdict.holds("stream", "".join(piece.text for piece in model.stream(SAY)) == WORDS)
    verdict.holds("batch", [answer.text for answer in model.batch([SAY, SAY])] == [WORDS] * 2)
    verdict.holds("tools", is_answered(loop(model, *CITIES), *CITIES))
    for method in ("json_schema", "function_calling", "json_mode"):
        question = f"{WHO} Answer in JSON."
        person = model.with_structured_output(Person, method=method).invoke(question)
        verdict.holds(f"with_structured_output by {method}", person == ADA)
    pieces = list(model.with_structured_output(Person).stream(WHO))
    verdict.holds("streamed structured output", pieces[-1] == ADA)

    model = ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True)
    verdict.holds("invoke over responses", model.invoke(SAY).text == WORDS)
    verdict.holds("stream over responses", "".join(piece.text for piece in model.stream(SAY)) == WORDS)
    verdict.holds("tools over responses", is_answered(loop(model, "Oslo"), "Oslo"))
    verdict.say()


main()
