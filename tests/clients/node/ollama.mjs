// The official Ollama package: chat, streamed, a tool loop, generate, list, show.
import { Ollama } from "ollama";
import { CITIES, MODEL, SAY, TOOL, WORDS, Verdict, getTemperature, isAnswered, weather } from "./common.mjs";

const verdict = new Verdict("ollama");
const client = new Ollama({ host: process.env.OLLAMA_HOST, headers: { Authorization: `Bearer ${process.env.OPENAI_API_KEY}` } });
const ask = (content) => ({ model: MODEL, messages: [{ role: "user", content }] });

const { models } = await client.list();
verdict.holds("list", models.some(({ model }) => model.replace(/:latest$/, "") === MODEL));
verdict.holds("show", (await client.show({ model: MODEL })).capabilities.includes("completion"));
verdict.holds("chat", (await client.chat(ask(SAY))).message.content === WORDS);

let text = "";
for await (const part of await client.chat({ ...ask(SAY), stream: true })) text += part.message.content;
verdict.holds("stream", text === WORDS);

const request = { ...ask(weather(...CITIES)), tools: [{ type: "function", function: TOOL }] };
const { message } = await client.chat(request);
request.messages.push(message);
for (const { function: called } of message.tool_calls) {
  request.messages.push({ role: "tool", tool_name: called.name, content: getTemperature(called.arguments) });
}
verdict.holds("tool loop", isAnswered((await client.chat(request)).message.content, ...CITIES));

verdict.holds("generate", (await client.generate({ model: MODEL, prompt: SAY })).response === WORDS);
await verdict.fails("ResponseError", () => client.chat({ ...ask(SAY), model: "gpt-0" }), (error) => error.name === "ResponseError" && error.status_code === 404);
verdict.say();
