// What the drivers share: the questions that the scripted model knows, and the verdict (see python/common.py).
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const MODEL = process.env.LLMTOR_MODEL;
export const BASE_URL = process.env.OPENAI_BASE_URL;
export const KEY = process.env.OPENAI_API_KEY;

export const WORDS = "kumquat seventeen";
export const SAY = `Say exactly: "${WORDS}"`;
export const WHO = "Who was Ada Lovelace, and when was she born?";
export const CITIES = ["Paris", "Oslo"];
const TEMPERATURES = Object.fromEntries(CITIES.map((city) => [city, 100 + Math.floor(Math.random() * 900)]));

/** The question that takes one call of the tool for each city. */
export const weather = (...cities) => `What is the temperature in ${cities.join(" and in ")}?`;

export const getTemperature = ({ city }) => `${TEMPERATURES[city]} degrees in ${city}`;

export const TOOL = {
  name: "get_temperature",
  description: "The temperature in a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
};

/** Whether `text` tells what the tool told of each city. */
export const isAnswered = (text, ...cities) => cities.every((city) => text.includes(getTemperature({ city })));

/** The version of an installed package, which need not export its package.json. */
function version(name) {
  for (const directory of createRequire(import.meta.url).resolve.paths(name)) {
    try {
      return JSON.parse(readFileSync(join(directory, name, "package.json"))).version;
    } catch {
      // Not in this one.
    }
  }
  throw new Error(`${name} is not installed`);
}

/** What a driver has proved. */
export class Verdict {
  proved = [];

  constructor(...packages) {
    this.versions = Object.fromEntries(packages.map((name) => [name, version(name)]));
  }

  /** Notes `what`; its fact must be true. */
  holds(what, fact) {
    if (!fact) throw new Error(`does not hold: ${what}`);
    this.proved.push(what);
  }

  /** That `call` fails, and with what; `fits` judges it. */
  async fails(what, call, fits) {
    let error;
    try {
      await call();
    } catch (caught) {
      error = caught;
    }
    if (!error) throw new Error(`did not fail: ${what}`);
    if (!fits(error)) throw new Error(`failed otherwise: ${what}`, { cause: error });
    this.proved.push(what);
  }

  /** Prints the line that is read. */
  say() {
    console.log(JSON.stringify({ versions: this.versions, proved: this.proved }));
  }
}
