"""Each failure comes as the official package's own class for it."""

import openai
from common import KEY, MODEL, SAY, Verdict
from openai import OpenAI


def ask(question, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": question}], **more}


def main():
    verdict = Verdict("openai")
    # With the retries that everybody has: none of these is worth one.
    client = OpenAI()

    def fails(kind, what, call, **expected):
        try:
            result = call()
            if isinstance(result, openai.Stream):
                list(result)
        except openai.APIError as error:
            assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
            for name, value in expected.items():
                assert getattr(error, name) == value, f"{kind.__name__}.{name} is {getattr(error, name)}"
            assert error.message and set(error.body) == {"message", "type", "param", "code"}, error.body
            verdict.holds(f"{kind.__name__} ({what})")
        else:
            raise AssertionError(f"no {kind.__name__}: {what}")

    chat, responses = client.chat.completions.create, client.responses.create
    wrong = OpenAI(api_key=f"{KEY}x")
    fails(
        openai.AuthenticationError,
        "a wrong key",
        lambda: wrong.chat.completions.create(**ask(SAY)),
        status_code=401,
        code="invalid_api_key",
    )
    fails(
        openai.AuthenticationError,
        "the same at responses",
        lambda: wrong.responses.create(model=MODEL, input=SAY),
        status_code=401,
    )
    page = OpenAI(default_headers={"Origin": "https://elsewhere.example"})
    fails(
        openai.PermissionDeniedError,
        "a web page",
        lambda: page.chat.completions.create(**ask(SAY)),
        status_code=403,
    )
    unknown = {**ask(SAY), "model": "gpt-0"}
    fails(openai.NotFoundError, "an unknown model", lambda: chat(**unknown), code="model_not_found")
    fails(
        openai.NotFoundError,
        "embeddings",
        lambda: client.embeddings.create(model=MODEL, input="x"),
        status_code=404,
    )
    fails(
        openai.BadRequestError,
        "logprobs",
        lambda: chat(**ask(SAY, logprobs=True)),
        status_code=400,
        param="logprobs",
    )
    fails(
        openai.BadRequestError,
        "previous_response_id",
        lambda: responses(model=MODEL, input=SAY, previous_response_id="resp_1"),
        param="previous_response_id",
    )
    too_long = ask("Fail with context")
    fails(openai.BadRequestError, "too long a prompt", lambda: chat(**too_long), code="context_length_exceeded")
    limited = ask("Fail with rate")
    fails(openai.RateLimitError, "a rate limit", lambda: chat(**limited), code="rate_limit_exceeded")
    fails(
        openai.RateLimitError,
        "the same at responses",
        lambda: responses(model=MODEL, input="Fail with rate"),
        status_code=429,
    )
    broken = ask("Fail with outage")
    fails(openai.InternalServerError, "an outage", lambda: chat(**broken), code="upstream_error")

    # Before a stream begins there still is a status; in it there is none any more.
    fails(openai.RateLimitError, "before a stream", lambda: chat(**limited, stream=True), status_code=429)
    late = ask("Fail late with rate", stream=True)
    fails(openai.APIError, "in a stream", lambda: chat(**late), code="rate_limit_exceeded")
    events = list(responses(model=MODEL, input="Fail late with rate", stream=True))
    assert events[-1].type == "response.failed", events[-1]
    error = events[-1].response.error
    verdict.holds("response.failed", error.code == "rate_limit_exceeded")
    verdict.say()


main()
