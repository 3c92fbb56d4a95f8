// The local page in Debian's Chromium: every view, light and dark, wide and narrow; then what other pages can do to it.
// node page.mjs LINK SECOND_LINK FILE_THAT_LEADS_THERE [DIRECTORY FOR PICTURES]
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [link, secondLink, slip, pictures] = process.argv.slice(2);
const origin = new URL(link).origin;
const port = new URL(link).port;
const VIEWS = ["./", "calls", "leaving", "settings", "workings"];
const MOST_BYTES = 60_000;
const READY_WITHIN = 150;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP rebound.test 127.0.0.1",
  ],
});
const report = { axe: 0, bytes: 0, ready: 0 };

// A page that hears of everything that goes wrong in it.
async function listening(context) {
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() !== "log" && faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) faults.push(`asked elsewhere: ${url}`);
  });
  return { page, faults };
}

async function views(context, home) {
  const { page, faults } = await listening(context);
  await page.goto(new URL("workings", home).href);
  await page.waitForSelector("ol.steps", { timeout: 120_000 });
  for (const colorScheme of ["light", "dark"]) {
    for (const [name, width] of [["wide", 1200], ["narrow", 360]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      for (const view of VIEWS) {
        await page.goto(new URL(view, home).href);
        const where = `${view} ${colorScheme} ${name}`;
        for (const details of await page.locator("details").all()) await details.evaluate((it) => (it.open = true));
        const { violations } = await new AxeBuilder({ page }).analyze();
        assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], where);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${where}: ${overflow} pixels too wide`);
        assert.equal(await page.locator("h1").count(), 1, where);
        if (pictures) {
          await page.screenshot({ path: `${pictures}/${view.replace("./", "overview")}-${colorScheme}-${name}.png`, fullPage: true });
        }
        report.axe += 1;
      }
    }
  }
  assert.deepEqual(faults, []);
  await page.close();
}

async function weight(context, home) {
  for (const view of VIEWS) {
    const { page, faults } = await listening(context);
    const client = await context.newCDPSession(page);
    await client.send("Network.enable");
    let bytes = 0;
    client.on("Network.loadingFinished", (done) => (bytes += done.encodedDataLength));
    const times = [];
    for (let round = 0; round < 7; round += 1) {
      bytes = 0;
      await page.goto(new URL(view, home).href, { waitUntil: "load" });
      times.push(await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd));
    }
    await page.waitForTimeout(100);
    assert.ok(bytes > 1000 && bytes <= MOST_BYTES, `${view}: ${bytes} bytes`);
    const best = Math.min(...times);
    assert.ok(best <= READY_WITHIN, `${view}: ready after ${times.map(Math.round)} ms`);
    report.bytes = Math.max(report.bytes, bytes);
    report.ready = Math.max(report.ready, Math.round(best));
    assert.deepEqual(faults, []);
    await page.close();
  }
}

async function keyboard(context, home) {
  const { page } = await listening(context);
  await page.goto(home);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "content");
  await page.close();
}

async function acting(context, home) {
  const { page, faults } = await listening(context);
  const watching = await context.newPage();
  await watching.goto(home);
  assert.equal(await watching.textContent("#state"), "ready");
  await page.goto(home);
  await page.getByRole("button", { name: "Pause" }).click();
  assert.equal(await page.textContent("#state"), "paused");
  // The other window hears of it by itself, and says so to a screen reader.
  await watching.waitForFunction(() => document.getElementById("state").textContent === "paused", null, { timeout: 10_000 });
  assert.equal(await watching.textContent("#spoken"), "paused");
  await page.getByRole("button", { name: "Resume" }).click();
  assert.equal(await page.textContent("#state"), "ready");
  await page.getByRole("button", { name: "New identity" }).click();
  await page.goto(new URL("settings", home).href);
  await page.getByRole("radio", { name: /^Strong/ }).check();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  assert.ok(await page.getByRole("radio", { name: /^Strong after a restart/ }).isChecked());
  await page.goto(new URL("workings", home).href);
  const token = await page.locator("ol.steps code").first().textContent();
  await page.getByRole("button", { name: "Make another token" }).click();
  assert.notEqual(await page.locator("ol.steps code").first().textContent(), token);
  assert.deepEqual(faults, []);
  await page.close();
  await watching.close();
}

// A page on another port of this machine, visited by somebody who has the local page open.
async function elsewhere(context, home) {
  const cookies = [];
  const server = createServer((request, response) => {
    cookies.push(request.headers.cookie ?? "");
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>x</title><form method="post" action="${new URL("pause", home)}"><button>go</button></form>`);
  }).listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  const other = `http://127.0.0.1:${server.address().port}/`;
  const page = await context.newPage();
  await page.goto(other);
  const tried = await page.evaluate(async (home) => {
    const ask = (options) => fetch(home, options).then((answer) => answer.type, () => "refused");
    return [await ask({}), await ask({ credentials: "include" }), await ask({ mode: "no-cors", credentials: "include" }),
      await ask({ method: "POST", credentials: "include", body: "form=" })];
  }, home);
  assert.deepEqual(tried.filter((result) => !["refused", "opaque"].includes(result)), []);
  const [answer] = await Promise.all([page.waitForResponse((response) => response.url().endsWith("/pause")), page.click("button")]);
  assert.equal(answer.status(), 403);
  // Embedded it is shown in no frame.
  await page.goto(other);
  await page.evaluate((home) => {
    const frame = document.createElement("iframe");
    frame.src = home;
    document.body.append(frame);
  }, home);
  await page.waitForTimeout(500);
  const framed = page.frames().filter((frame) => frame !== page.mainFrame());
  for (const frame of framed) assert.ok(!(await frame.content()).includes("At a glance"));
  // Through a link: the door, and what to do.
  await page.goto(other);
  await page.evaluate((home) => (location.href = home), home);
  await page.getByText("llmtor open").waitFor();
  assert.ok(!(await page.content()).includes("At a glance"));
  assert.deepEqual(cookies.filter((line) => line.includes("llmtor")), [], "the cookie went to another port");
  const rebound = await page.goto(`http://rebound.test:${port}${new URL(home).pathname}`);
  assert.equal(rebound.status(), 421);
  assert.ok(!(await page.content()).includes("At a glance"));
  server.close();
  await page.close();
}

try {
  const context = await browser.newContext();
  const first = await context.newPage();
  await first.goto(link);
  const home = first.url();
  assert.ok(home.startsWith(`${origin}/`) && !home.includes("ticket"), home);
  assert.equal(await first.evaluate(() => document.cookie), "", "a script can read the cookie");
  await first.close();

  // At once: a link is good for a minute, and a slow machine takes longer over all the rest.
  const plain = await browser.newContext({ javaScriptEnabled: false });
  const still = await plain.newPage();
  await still.goto(secondLink);
  assert.equal(await still.textContent("#state"), "ready");

  // As `llmtor open` has it opened: a file that leads on.
  const handed = await browser.newContext();
  const led = await handed.newPage();
  await led.goto(slip);
  await led.waitForURL((url) => url.href.startsWith(`${origin}/`) && !url.href.includes("ticket"));
  assert.ok((await led.content()).includes("At a glance"));
  await handed.close();

  const thief = await browser.newContext();
  const stolen = await thief.newPage();
  for (const url of [link, home]) {
    const answer = await stolen.goto(url);
    assert.equal(answer.status(), 403, url);
    assert.ok((await stolen.content()).includes("llmtor open"));
  }
  assert.deepEqual((await new AxeBuilder({ page: stolen }).analyze()).violations, []);
  await thief.close();

  await views(context, home);
  await weight(context, home);
  await keyboard(context, home);
  await elsewhere(context, home);
  await acting(context, home);

  for (const view of VIEWS) assert.equal((await still.goto(new URL(view, still.url()).href)).status(), 200);
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
