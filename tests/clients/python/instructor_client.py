"""instructor: a typed answer by each of its modes, many of them, and one built up while it streams."""

import instructor
from common import MODEL, WHO, Verdict
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    born: int


ADA = Person(name="Ada Lovelace", born=1815)


def main():
    verdict = Verdict("instructor", "openai")
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA, instructor.Mode.MD_JSON):
        client = instructor.from_provider(f"openai/{MODEL}", mode=mode)
        request = {"messages": [{"role": "user", "content": WHO}], "max_retries": 0}
        person = client.create(response_model=Person, **request)
        # Not ==: instructor keeps the raw answer in it too.
        verdict.holds(mode.value, person.model_dump() == ADA.model_dump())
    client = instructor.from_provider(f"openai/{MODEL}")
    *_, last = client.create_partial(response_model=Person, **request)
    verdict.holds("create_partial", (last.name, last.born) == (ADA.name, ADA.born))
    verdict.say()


main()
