// The official Anthropic package: messages, streamed, a tool loop, counted tokens, its classes for errors.
import Anthropic from "@anthropic-ai/sdk";
import { CITIES, MODEL, SAY, TOOL, WORDS, Verdict, getTemperature, isAnswered, weather } from "./common.mjs";

const ask = (content) => ({ model: MODEL, max_tokens: 1000, messages: [{ role: "user", content }] });
const tools = [{ name: TOOL.name, description: TOOL.description, input_schema: TOOL.parameters }];
const verdict = new Verdict("@anthropic-ai/sdk");
const client = new Anthropic({ maxRetries: 0 });

verdict.holds("messages", (await client.messages.create(ask(SAY))).content[0].text === WORDS);
verdict.holds("stream", (await client.messages.stream(ask(SAY)).finalText()) === WORDS);

const request = { ...ask(weather(...CITIES)), tools };
const message = await client.messages.stream(request).finalMessage();
const uses = message.content.filter((block) => block.type === "tool_use");
const results = uses.map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: getTemperature(input) }));
request.messages.push({ role: "assistant", content: message.content }, { role: "user", content: results });
verdict.holds("tool loop", isAnswered((await client.messages.create(request)).content[0].text, ...CITIES));

const { input_tokens: counted } = await client.messages.countTokens({ model: MODEL, messages: ask(SAY).messages });
verdict.holds("countTokens", counted > 0);

const wrong = new Anthropic({ apiKey: `${client.apiKey}x` });
const is = (kind) => (error) => error.constructor === kind && error.error?.type === "error";
await verdict.fails("AuthenticationError", () => wrong.messages.create(ask(SAY)), is(Anthropic.AuthenticationError));
await verdict.fails("NotFoundError", () => client.messages.create({ ...ask(SAY), model: "x-0" }), is(Anthropic.NotFoundError));
await verdict.fails("RateLimitError", () => client.messages.create(ask("Fail with rate")), is(Anthropic.RateLimitError));
await verdict.fails("an error in a stream", () => client.messages.stream(ask("Fail late with rate")).finalText(), (error) => error instanceof Anthropic.APIError);
verdict.say();
