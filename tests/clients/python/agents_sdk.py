"""openai-agents: an agent with a tool, run whole and streamed, over both endpoints; and a typed answer."""

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from common import CITIES, MODEL, WHO, Verdict, get_temperature, is_answered, weather
from openai import AsyncOpenAI
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    born: int


async def main():
    verdict = Verdict("openai-agents")
    client = AsyncOpenAI(max_retries=0)
    models = {
        "responses": OpenAIResponsesModel(model=MODEL, openai_client=client),
        "chat": OpenAIChatCompletionsModel(model=MODEL, openai_client=client),
    }
    for name, model in models.items():
        tools = [function_tool(get_temperature)]
        agent = Agent(name="Weather", instructions="Answer with the tool.", tools=tools, model=model)
        result = await Runner.run(agent, weather(*CITIES))
        verdict.holds(f"tool loop over {name}", is_answered(result.final_output, *CITIES))

        result = Runner.run_streamed(agent, weather("Oslo"))
        seen = [event.type async for event in result.stream_events()]
        assert "raw_response_event" in seen and "run_item_stream_event" in seen
        verdict.holds(f"streamed tool loop over {name}", is_answered(result.final_output, "Oslo"))

        typed = Agent(name="Historian", output_type=Person, model=model)
        result = await Runner.run(typed, WHO)
        verdict.holds(f"output_type over {name}", result.final_output == Person(name="Ada Lovelace", born=1815))
    verdict.say()


asyncio.run(main())
