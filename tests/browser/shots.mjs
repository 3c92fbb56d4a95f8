// Pictures of every view: node shots.mjs LINK DIRECTORY
import { chromium } from "playwright-core";

const [link, directory] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext();
const page = await context.newPage();
await page.goto(link);
const home = page.url();
await page.goto(new URL("workings", home).href);
await page.waitForSelector("ol.steps", { timeout: 60_000 });
for (const scheme of ["light", "dark"]) {
  for (const [name, width] of [["wide", 1200], ["narrow", 390]]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 800 });
    for (const view of ["", "calls", "leaving", "settings", "workings"]) {
      await page.goto(new URL(view || "./", home).href);
      await page.screenshot({ path: `${directory}/${view || "overview"}-${scheme}-${name}.png`, fullPage: true });
    }
  }
}
await browser.close();
