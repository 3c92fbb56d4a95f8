// One call with the official Node package: call.mjs plain|stream MODEL QUESTION.
import OpenAI from "openai";

const [mode, model, question] = process.argv.slice(2);
// No retries: each call must be one redemption.
const client = new OpenAI({ maxRetries: 0 });
const messages = [{ role: "user", content: question }];
if (mode === "stream") {
  const parts = await client.chat.completions.create({ model, messages, stream: true, top_p: 0.9 });
  for await (const part of parts) {
    process.stdout.write(part.choices[0]?.delta?.content ?? "");
  }
  process.stdout.write("\n");
} else {
  const answer = await client.chat.completions.create({ model, messages, metadata: { a: "b" } });
  console.log(answer.choices[0].message.content);
}
