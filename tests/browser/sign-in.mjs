// Somebody who runs `llmtor login` and does in its window what a person would. The order is JSON on standard input:
// {program, arguments, environment, profiles, act: "code" | "provider" | "close" | "interrupt", code, name}.
// What happened is JSON on standard output.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import AxeBuilder from '@axe-core/playwright';
import { chromium } from 'playwright-core';

const order = JSON.parse(await text(process.stdin));
const child = spawn(order.program, order.arguments, { env: order.environment, stdio: ['ignore', 'pipe', 'pipe'] });
const ended = new Promise((resolve) => child.on('close', (code) => resolve(code)));
const said = Promise.all([text(child.stdout), text(child.stderr)]);
let over = false;
ended.then(() => { over = true; });

async function until(what, look) {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = await look();
    if (found) return found;
    if (over) throw new Error(`${what}: llmtor ended first: ${(await said).join('\n')}`);
    await pause(50);
  }
  throw new Error(`${what} did not happen`);
}

const profile = await until('a profile', () => existsSync(order.profiles)
  && readdirSync(order.profiles).map((name) => join(order.profiles, name)).find((path) => existsSync(join(path, 'DevToolsActivePort'))));
const mode = (statSync(profile).mode & 0o777).toString(8);
const argv = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8');
const port = await until('a port', () => readFileSync(join(profile, 'DevToolsActivePort'), 'utf8').split('\n')[0]);
const browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`);
const page = await until('a page', () => browser.contexts()[0].pages()[0]);
const report = { mode, argv, violations: [], pages: [] };

async function judge(scheme) {
  await page.emulateMedia({ colorScheme: scheme });
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  report.violations.push(...violations.map((violation) => `${scheme}: ${violation.id}: ${violation.nodes[0].html}`));
}

async function withCode() {
  const field = page.getByLabel('Invite code');
  await field.waitFor();
  report.pages.push(page.url());
  report.focused = [await page.evaluate(() => document.activeElement.id)];
  await judge('light');
  await judge('dark');
  await field.fill('AAAAA-BBBBB-CCCCC-DDDDD');
  await page.getByRole('button', { name: 'Sign in with the code' }).click();
  await page.getByRole('alert').waitFor();
  report.focused.push(await page.evaluate(() => document.activeElement.id));
  report.complaint = await page.getByRole('alert').textContent();
  await judge('light');
  await judge('dark');
  // By the keyboard alone, and as somebody types what was read out to them.
  await field.fill(order.code.toLowerCase().replaceAll('-', ' '));
  await field.press('Enter');
}

async function withProvider() {
  await page.locator('input[name=login]').waitFor();
  report.pages.push(page.url());
  await page.locator('input[name=login]').fill(order.name);
  await page.locator('input[name=password]').fill('anything');
  await page.locator('button[type=submit]').click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

// The window closes as soon as the sign-in is over: what the last click waits for may never come.
const leave = (error) => { if (!/closed|crashed|detached|ERR_ABORTED/i.test(String(error))) throw error; };
if (order.act === 'code') await withCode().catch(leave);
if (order.act === 'provider') await withProvider().catch(leave);
if (order.act === 'close') await page.close().catch(leave);
if (order.act === 'interrupt') child.kill('SIGINT');

report.exit = await Promise.race([ended, pause(30_000).then(() => 'still there')]);
if (report.exit === 'still there') {
  report.url = page.url();
  child.kill('SIGKILL');
}
[report.stdout, report.stderr] = await said;
report.left = readdirSync(order.profiles);
report.listening = await fetch(`http://127.0.0.1:${port}/json/version`).then(() => true, () => false);
console.log(JSON.stringify(report));
process.exit(0);
