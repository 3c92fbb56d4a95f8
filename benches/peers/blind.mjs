// The client's work for one token in @cloudflare/blindrsa-ts: blind, and finalize with its verification.
// Prints milliseconds a token, as `cargo bench --bench load -- blind` does.
import { RSABSSA } from "@cloudflare/blindrsa-ts";

const rounds = 50;
const suite = RSABSSA.SHA384.PSS.Randomized();
const { privateKey, publicKey } = await suite.generateKey({
  publicExponent: Uint8Array.from([1, 0, 1]),
  modulusLength: 2048,
});
let total = 0;
for (let round = 0; round < rounds; round++) {
  let started = performance.now();
  const message = new TextEncoder().encode(crypto.randomUUID());
  const { blindedMsg, inv } = await suite.blind(publicKey, message);
  total += performance.now() - started;
  const signature = await suite.blindSign(privateKey, blindedMsg);
  started = performance.now();
  await suite.finalize(publicKey, message, signature, inv);
  total += performance.now() - started;
}
console.log((total / rounds).toFixed(3));
