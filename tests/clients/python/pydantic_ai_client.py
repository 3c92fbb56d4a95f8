"""pydantic-ai: a tool and then a typed answer, by each of its output modes, over both endpoints; and streamed."""

import asyncio

from common import MODEL, SAY, TEMPERATURES, WHO, WORDS, Verdict, get_temperature, weather
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel


class Report(BaseModel):
    city: str
    celsius: int


class Person(BaseModel):
    name: str
    born: int


async def main():
    verdict = Verdict("pydantic-ai-slim")
    right = Report(city="Paris", celsius=TEMPERATURES["Paris"])
    for name, model in {"chat": OpenAIChatModel(MODEL), "responses": OpenAIResponsesModel(MODEL)}.items():
        result = await Agent(model).run(SAY)
        verdict.holds(f"run over {name}", result.output == WORDS)

        for mode in (ToolOutput, NativeOutput, PromptedOutput):
            agent = Agent(model, output_type=mode(Report, name="final_result"), tools=[get_temperature])
            result = await agent.run(weather("Paris"))
            verdict.holds(f"tool and {mode.__name__} over {name}", result.output == right)

        agent = Agent(model, output_type=Person)
        async with agent.run_stream(WHO) as stream:
            verdict.holds(
                f"run_stream over {name}", await stream.get_output() == Person(name="Ada Lovelace", born=1815)
            )
    verdict.say()


asyncio.run(main())
