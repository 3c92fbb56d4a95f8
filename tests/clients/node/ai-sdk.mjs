// Vercel's ai with @ai-sdk/openai-compatible: text, streamed text, a tool loop of its own, an object.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { BASE_URL, CITIES, KEY, MODEL, SAY, TOOL, WHO, WORDS, Verdict, getTemperature, isAnswered, weather } from "./common.mjs";

const verdict = new Verdict("ai", "@ai-sdk/openai-compatible");
const options = { name: "llmtor", baseURL: BASE_URL, apiKey: KEY, supportsStructuredOutputs: true, includeUsage: true };
const model = createOpenAICompatible(options)(MODEL);
const common = { model, maxRetries: 0 };

verdict.holds("generateText", (await generateText({ ...common, prompt: SAY })).text === WORDS);

let text = "";
for await (const piece of streamText({ ...common, prompt: SAY }).textStream) text += piece;
verdict.holds("streamText", text === WORDS);

const inputSchema = z.object({ city: z.string() });
const tools = { [TOOL.name]: tool({ description: TOOL.description, inputSchema, execute: getTemperature }) };
const looped = { ...common, tools, stopWhen: isStepCount(3) };
const done = await generateText({ ...looped, prompt: weather(...CITIES) });
verdict.holds("tool loop", isAnswered(done.text, ...CITIES) && done.steps.length === 2);

const streamed = streamText({ ...looped, prompt: weather("Oslo") });
verdict.holds("streamed tool loop", isAnswered(await streamed.text, "Oslo"));

const schema = z.object({ name: z.string(), born: z.number() });
const { output } = await generateText({ ...common, prompt: WHO, output: Output.object({ schema }) });
verdict.holds("Output.object", output.name === "Ada Lovelace" && output.born === 1815);
verdict.say();
