// The official package: chat completions and responses, streamed and not, tools, structured output, its helpers.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { CITIES, MODEL, SAY, TOOL, WHO, WORDS, Verdict, getTemperature, isAnswered, weather } from "./common.mjs";

const Person = z.object({ name: z.string(), born: z.number() });
const ask = (content, more = {}) => ({ model: MODEL, messages: [{ role: "user", content }], ...more });
const isAda = (person) => person?.name === "Ada Lovelace" && person.born === 1815;

async function chat(client, verdict) {
  const { completions } = client.chat;
  const answer = await completions.create(ask(SAY));
  verdict.holds("plain", answer.choices[0].message.content === WORDS);

  let text = "";
  let usage;
  for await (const chunk of await completions.create(ask(SAY, { stream: true, stream_options: { include_usage: true } }))) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage ??= chunk.usage;
  }
  verdict.holds("stream", text === WORDS && usage.total_tokens > 0);
  verdict.holds(".stream", (await completions.stream(ask(SAY)).finalContent()) === WORDS);

  const parsed = await completions.parse(ask(WHO, { response_format: zodResponseFormat(Person, "person") }));
  verdict.holds(".parse", isAda(parsed.choices[0].message.parsed));

  for (const stream of [false, true]) {
    const tool = { type: "function", function: { ...TOOL, function: getTemperature, parse: JSON.parse } };
    const runner = completions.runTools(ask(weather(...CITIES), { tools: [tool], stream }));
    const content = await runner.finalContent();
    verdict.holds(stream ? ".runTools streamed" : ".runTools", isAnswered(content, ...CITIES));
  }
}

async function responses(client, verdict) {
  const response = await client.responses.create({ model: MODEL, input: SAY, store: false });
  verdict.holds("responses", response.output_text === WORDS);

  const types = [];
  for await (const event of await client.responses.create({ model: MODEL, input: SAY, stream: true })) {
    if (event.sequence_number !== types.length) throw new Error(`event ${types.length} is ${event.sequence_number}`);
    types.push(event.type);
  }
  verdict.holds("responses stream", types[0] === "response.created" && types.at(-1) === "response.completed");

  const text = { format: zodTextFormat(Person, "person") };
  const parsed = await client.responses.parse({ model: MODEL, input: WHO, text });
  verdict.holds("responses .parse", isAda(parsed.output_parsed));

  const input = [{ role: "user", content: weather(...CITIES) }];
  const tools = [{ type: "function", ...TOOL, strict: true }];
  const called = await client.responses.stream({ model: MODEL, input, tools }).finalResponse();
  for (const item of called.output) {
    input.push(item);
    if (item.type === "function_call") {
      const output = getTemperature(JSON.parse(item.arguments));
      input.push({ type: "function_call_output", call_id: item.call_id, output });
    }
  }
  const done = await client.responses.stream({ model: MODEL, input, tools }).finalResponse();
  verdict.holds("responses tool loop", isAnswered(done.output_text, ...CITIES));
}

async function errors(verdict) {
  // With the retries that everybody has: none of these is worth one.
  const client = new OpenAI();
  const wrong = new OpenAI({ apiKey: `${client.apiKey}x` });
  const page = new OpenAI({ defaultHeaders: { Origin: "https://elsewhere.example" } });
  const create = (request, from = client) => from.chat.completions.create(request);
  const is = (kind, rest = {}) => (error) =>
    error.constructor === kind && Object.entries(rest).every(([name, value]) => error[name] === value);
  const drain = async (stream) => {
    for await (const _ of await stream);
  };
  await verdict.fails("AuthenticationError", () => create(ask(SAY), wrong), is(OpenAI.AuthenticationError, { code: "invalid_api_key" }));
  await verdict.fails("PermissionDeniedError", () => create(ask(SAY), page), is(OpenAI.PermissionDeniedError));
  await verdict.fails("NotFoundError", () => create({ ...ask(SAY), model: "gpt-0" }), is(OpenAI.NotFoundError, { code: "model_not_found" }));
  await verdict.fails("BadRequestError", () => create(ask(SAY, { logprobs: true })), is(OpenAI.BadRequestError, { param: "logprobs" }));
  await verdict.fails("RateLimitError", () => create(ask("Fail with rate")), is(OpenAI.RateLimitError, { code: "rate_limit_exceeded" }));
  await verdict.fails("InternalServerError", () => create(ask("Fail with outage")), is(OpenAI.InternalServerError));
  await verdict.fails("APIError in a stream", () => drain(create(ask("Fail late with rate", { stream: true }))), is(OpenAI.APIError, { code: "rate_limit_exceeded" }));
}

const verdict = new Verdict("openai");
const client = new OpenAI({ maxRetries: 0 });
await chat(client, verdict);
await responses(client, verdict);
await errors(verdict);
verdict.say();
