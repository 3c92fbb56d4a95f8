// The purchase page in a real browser. Paddle is played at the network's edge: requests to its hosts are answered here, so
// that the page's own policy decides what gets in. Prints what was seen as JSON.
//
//   node checkout.mjs URL [CODE]     with CODE the voucher form is filled in and sent
import { chromium } from 'playwright-core';
import { AxeBuilder } from '@axe-core/playwright';

const [url, code] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

// What Paddle's script offers, and a frame and a script that only a lax policy would let in.
const fake = `
  window.seen = { initialized: null, opened: [] };
  window.Paddle = {
    Environment: { set: (name) => { window.seen.environment = name; } },
    Initialize: (options) => { window.seen.initialized = options.token; window.tell = options.eventCallback; },
    Checkout: { open: (options) => {
      window.seen.opened.push(options);
      window.seen.address = location.href;
      // Wherever a script may look for where its page came from.
      window.seen.traces = {
        performance: performance.getEntries().map((entry) => [entry.name, entry.toJSON()]),
        navigation: navigation.entries().map((entry) => [entry.url, entry.getState() ?? null]),
        activation: navigation.activation?.from?.url ?? null,
        document: [document.referrer, document.URL, document.baseURI, document.cookie, document.documentElement.outerHTML],
        window: [location.href, window.name, history.state, window.opener === null],
        storage: [Object.entries(localStorage), Object.entries(sessionStorage)],
      };
      const frame = document.createElement('iframe');
      frame.title = 'Payment';
      frame.src = 'https://sandbox-buy.paddle.com/checkout';
      document.body.append(frame);
      window.tell({ name: 'checkout.loaded' });
    } },
  };
  const stranger = document.createElement('script');
  stranger.src = 'https://evil.example/x.js';
  document.head.append(stranger);
  const frame = document.createElement('iframe');
  frame.title = 'Stranger';
  frame.src = 'https://evil.example/frame';
  document.body.append(frame);
`;

const browser = await chromium.launch({ executablePath, headless: true, args });
try {
  const context = await browser.newContext();
  const page = await context.newPage();
  const seen = { referers: [], outside: [], refused: [], violations: {} };
  page.on('console', (message) => { if (/Content Security Policy/.test(message.text())) seen.refused.push(message.text()); });
  page.on('pageerror', (error) => { seen.outside.push(`error: ${error.message}`); });
  await context.route((target) => target.hostname !== '127.0.0.1', async (route) => {
    const target = new URL(route.request().url());
    if (target.hostname === 'cdn.paddle.com') {
      seen.referers.push(route.request().headers().referer ?? '');
      await route.fulfill({ contentType: 'text/javascript', body: fake });
    } else if (target.hostname === 'sandbox-buy.paddle.com') {
      seen.referers.push(route.request().headers().referer ?? '');
      await route.fulfill({ contentType: 'text/html', body: '<!doctype html><html lang="en"><title>Pay</title><p>Card</p></html>' });
    } else {
      seen.outside.push(target.href);
      await route.abort();
    }
  });
  const answer = await page.goto(url, { waitUntil: 'load' });
  seen.status = answer.status();
  await page.waitForTimeout(300);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).exclude('iframe').analyze();
    seen.violations[colorScheme] = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
  }
  await page.setViewportSize({ width: 320, height: 640 });
  seen.overflows = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  seen.title = await page.title();
  seen.address = page.url();
  const pay = page.locator('#pay');
  if (await pay.count()) {
    seen.pay = (await pay.textContent()).trim();
    seen.href = await pay.getAttribute('href');
  }
  seen.paddle = await page.evaluate(() => window.seen ?? null);
  if (seen.paddle) {
    seen.state = await page.locator('#state').textContent();
    await page.evaluate(() => window.tell({ name: 'checkout.closed' }));
    seen.closed = await page.locator('#state').textContent();
    // By keyboard, as somebody without a mouse.
    await pay.focus();
    await page.keyboard.press('Enter');
    seen.opened = await page.evaluate(() => window.seen.opened.length);
    await page.evaluate(() => window.tell({ name: 'checkout.completed' }));
    seen.completed = await page.locator('#state').textContent();
  }
  if (code) {
    await page.getByLabel('Voucher code').fill(code);
    await page.getByRole('button', { name: 'Redeem' }).click();
    await page.waitForLoadState('load');
    seen.after = { title: await page.title(), text: await page.locator('main').innerText(), address: page.url() };
    const { violations } = await new AxeBuilder({ page }).analyze();
    seen.violations.after = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
  }
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
