// The official Node package against llmtor. OPENAI_BASE_URL and OPENAI_API_KEY say where (`llmtor env`).
import OpenAI from "openai";

const client = new OpenAI();
const model = process.env.MODEL ?? "gpt-4.1-mini";
const messages = [{ role: "user", content: "Count to 5, please." }];

// Plain.
const answer = await client.chat.completions.create({ model, messages });
console.log(answer.choices[0].message.content);

// Streaming.
const stream = await client.chat.completions.create({ model, messages, stream: true });
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
process.stdout.write("\n");
