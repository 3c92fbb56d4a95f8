// The guide's pictures, made anew: docs/pictures/*.png. Each is a view of the real program before the real reference
// backend, so that none shows what is no longer there.
//
//   (cd tests/browser && npm ci)                 the browser's driver; the browser is Debian's chromium, or CHROMIUM
//   cargo build && node scripts/pictures/pictures.mjs [NAME…]
//
// LLMTOR_BIN is another program than target/debug/llmtor, PICTURES another folder. Needs curl and jq. A new picture is a new
// row of `pictures`.
//
// Beside each picture NAME.txt has its words, without numbers and what else is of one run alone. With PICTURES they are compared
// with those of docs/pictures: where they differ, the guide shows what is no longer there, and the script fails.
import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const { chromium } = createRequire(join(root, 'tests/browser/package.json'))('playwright-core');
const program = process.env.LLMTOR_BIN ?? join(root, 'target/debug/llmtor');
const folder = resolve(process.env.PICTURES ?? join(root, 'docs/pictures'));

const question = { model: 'gpt-4.1-mini', messages: [{ role: 'user', content: 'Count to 5, please.' }] };
const session = [
  'llmtor tokens',
  'eval "$(llmtor env)"',
  `curl -s $OPENAI_BASE_URL/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" \\\n    --json '${JSON.stringify(question)}' \\\n    | jq -r .choices[0].message.content`,
  'llmtor tokens',
];

// name → what makes it; `size` is the window's, in CSS pixels
const pictures = [
  { name: "terminal", size: [1120, 200], make: (page, world) => terminal(page, world, session) },
  { name: "doctor", size: [1120, 200], make: (page, world) => terminal(page, world, ['llmtor doctor']) },
  {
    name: "sign-in",
    size: [720, 480],
    make: (page, world) => visit(page, `${world.backend}/api/v1/users/signin?redirect=${encodeURIComponent('http://127.0.0.1:5139/callback')}`),
  },
  { name: "checkout", size: [720, 470], make: checkout },
  { name: "page-overview", size: [1080, 860], make: (page, world) => local(page, world, '') },
  { name: "page-leaving", size: [1080, 860], make: (page, world) => local(page, world, 'leaving') },
  { name: "page-workings", size: [1080, 860], make: (page, world) => local(page, world, 'workings') },
  // Its own script has the desktop that it needs, and writes where the others are.
  { name: "tray", script: 'scripts/picture-of-tray.sh' },
];

// Pictures that show what is not there.
const stale = [];

// A view that this build of the program does not have.
class Absent extends Error {}

async function visit(page, url) {
  const answer = await page.goto(url, { waitUntil: 'networkidle' });
  if (answer.status() === 404) throw new Absent(`${new URL(url).pathname} is not there`);
  if (!answer.ok()) throw new Error(`${url}: ${answer.status()}`);
}

// As `llmtor buy` opens it.
async function checkout(page, world) {
  const bought = world.run(['buy', '--package', 'small', '--print', '--wait', '0', '--json'], '', true);
  const url = bought.stdout.match(/https?:\/\/[^"\s]+/);
  if (!url) throw new Absent('`llmtor buy` prints no address');
  await visit(page, url[0]);
}

// A view of the daemon's own page, entered by a one-time link; there is a call to be seen.
async function local(page, world, view) {
  const link = world.run(['open', '--print'], '', true).stdout.match(/http:\/\/\S+/);
  if (!link) throw new Absent('`llmtor open` prints no link');
  await visit(page, link[0].replace(/["}]+$/, ''));
  world.shell(session.slice(1, 3).join('\n'));
  await visit(page, new URL(view, page.url()).href);
  await page.evaluate((known) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) for (const [port, shown] of known) texts.currentNode.data = texts.currentNode.data.replaceAll(port, shown);
  }, world.ports);
}

// A terminal, in which `commands` were typed one after the other in one shell.
async function terminal(page, world, commands) {
  const script = commands.map((command) => `echo '\x01'; { ${command}\n} 2>&1`).join('\n');
  const said = world.shell(script).split('\x01\n').slice(1);
  const typed = commands.map((command, at) => `<b>$</b> ${plain(command)}\n${coloured(said[at] ?? '')}`);
  const style = `body{margin:0;background:#10151c;padding:28px}
    pre{margin:0;font:14px/1.55 "DejaVu Sans Mono",monospace;color:#d7dee8;white-space:pre-wrap;overflow-wrap:anywhere}
    b{color:#7fd1ae;font-weight:600}`;
  await page.setContent(`<!doctype html><html lang="en"><meta charset="utf-8"><style>${style}</style><pre>${typed.join('\n')}</pre>`);
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width: page.viewportSize().width, height: Math.ceil(height) });
}

// What a picture says, one line a line; what differs from run to run (numbers, ids, dates, paths of this run) is a `#`.
async function keepWords(page, name) {
  const shown = await page.evaluate(() => document.body.innerText);
  const lines = shown.split('\n').map((line) => line
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, '#')
    .replace(/\b[0-9a-f]{2}[0-9a-f.:… -]{9,}[0-9a-f]\b/gi, '#')
    .replace(/\b(Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)\w*\b/g, '#')
    .replace(/[\w+/=]{24,}/g, '#')
    .replace(/\d+([.,:]\d+)*/g, '#')
    .replace(/(# ?)+/g, '# ')
    .replace(/# ms\b/g, '# s')
    .trim()).filter(Boolean);
  const words = `${lines.join('\n')}\n`;
  writeFileSync(join(folder, `${name}.txt`), words);
  if (!process.env.PICTURES) return;
  const kept = join(root, 'docs/pictures', `${name}.txt`);
  if (!existsSync(kept)) return stale.push(`${name}: docs/pictures has no words of it`);
  const known = readFileSync(kept, 'utf8').split('\n');
  const fresh = words.split('\n');
  const at = fresh.findIndex((line, at) => line !== known[at]);
  if (words !== known.join('\n')) stale.push(`${name}: it says «${fresh[at] ?? ''}» where the picture has «${known[at] ?? ''}»`);
}

const plain = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

// Colours as a terminal shows them; whatever else an escape may do is left out.
function coloured(text) {
  const colours = { 31: '#f08a7d', 32: '#7fd1ae', 33: '#e6c46a', 34: '#82b1f0', 35: '#c9a0e8', 36: '#74c9d6', 90: '#8b97a6' };
  let open = 0;
  const html = plain(text).replace(/\x1b\[([0-9;]*)([A-Za-z])/g, (_, codes, kind) => {
    if (kind !== 'm') return '';
    const styles = codes.split(';').map((code) => (code === '1' ? 'font-weight:600' : colours[code] && `color:${colours[code]}`)).filter(Boolean);
    const close = '</span>'.repeat(open);
    open = styles.length ? 1 : 0;
    return close + (open ? `<span style="${styles.join(';')}">` : '');
  });
  return html + '</span>'.repeat(open);
}

async function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

// A backend, a client with some tokens, and its daemon.
async function open() {
  const room = mkdtempSync(join(tmpdir(), 'llmtor-pictures-'));
  mkdirSync(join(room, 'bin'));
  symlinkSync(program, join(room, 'bin/llmtor'));
  const [ours, theirs] = [await freePort(), await freePort()];
  const env = {
    HOME: room, LANG: 'C.UTF-8', PATH: `${join(room, 'bin')}:${process.env.PATH}`,
    LLMTOR_SERVER__LISTEN: `127.0.0.1:${ours}`, BROWSER: 'true',
  };
  const children = [];
  const run = (words, input = '', may_fail = false) => {
    const done = spawnSync(program, words, { cwd: room, env, input, encoding: 'utf8' });
    if (done.status !== 0 && !may_fail) throw new Error(`llmtor ${words.join(' ')}: ${done.stdout}${done.stderr}`);
    return done;
  };
  const serve = (words) => new Promise((ready, failed) => {
    const child = spawn(program, words, { cwd: room, env });
    children.push(child);
    let said = '';
    const listen = (bytes) => { said += bytes; if (said.includes('ready at')) ready(); };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('exit', () => failed(new Error(said)));
  });
  const close = () => {
    for (const child of children) { child.removeAllListeners('exit'); child.kill(); }
    rmSync(room, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const settings = `[models."gpt-4.1-mini"]\nprovider = "embedded"\n
      [[packages]]\nid = "small"\nmodel = "gpt-4.1-mini"\ntokens = 100\nprice = "$1.00"\n
      [[packages]]\nid = "large"\nmodel = "gpt-4.1-mini"\ntokens = 1000\nprice = "$8.00"\n`;
    writeFileSync(join(room, 'settings.toml'), settings);
    const home = ['--home', 'backend'];
    run(['backend', 'init', '--config', 'settings.toml', ...home]);
    const printed = run(['backend', 'account', 'add', 'alice', '--credits', 'gpt-4.1-mini=900', ...home]);
    // Where there are invitations, one makes the sign-in page have a form.
    run(['backend', 'invite', 'create', ...home], '', true);
    writeFileSync(join(room, 'keys.json'), run(['backend', 'keys', 'export', ...home]).stdout);
    await serve(['backend', 'serve', '--listen', `127.0.0.1:${theirs}`, ...home]);
    const backend = `http://127.0.0.1:${theirs}`;
    // As a guide has them, and not as they were free.
    const ports = [[`:${ours}`, ':8787'], [`:${theirs}`, ':9797']];
    run(['init', '--backend', backend, '--keys', 'keys.json']);
    run(['login', '--session-stdin'], printed.stdout);
    run(['abuse', 'setup']);
    run(['tokens', 'mint', '--model', 'gpt-4.1-mini', '--count', '40', '--now']);
    await serve(['serve']);
    const shell = (script) => {
      const done = spawnSync('bash', ['-c', script], { cwd: room, env, encoding: 'utf8' });
      if (done.status !== 0) throw new Error(`${script}: ${done.stdout}${done.stderr}`);
      // What is of this run alone would change the picture each time.
      const said = done.stdout.replaceAll(room, '~').replace(/pid \d+/g, 'pid 4242');
      return ports.reduce((text, [port, shown]) => text.replaceAll(port, shown), said);
    };
    return { backend, run, shell, close, ports };
  } catch (error) {
    close();
    throw error;
  }
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !pictures.some((picture) => picture.name === name));
if (unknown.length) {
  console.error(`no such picture: ${unknown.join(', ')}; there are ${pictures.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
mkdirSync(folder, { recursive: true });
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const world = await open();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args });
try {
  for (const { name, size: [width, height] = [], make, script } of pictures) {
    if (wanted.length && !wanted.includes(name)) continue;
    if (script) {
      if (spawnSync(join(root, script), [program], { stdio: 'inherit' }).status !== 0) throw new Error(`${script} failed`);
      continue;
    }
    const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: 2, colorScheme: 'light', reducedMotion: 'reduce', locale: 'en-GB' });
    const page = await context.newPage();
    try {
      await make(page, world);
      await page.screenshot({ path: join(folder, `${name}.png`) });
      await keepWords(page, name);
      console.log(join(folder, `${name}.png`));
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      stale.push(`${name}: ${error.message}`);
    }
    await context.close();
  }
} finally {
  await browser.close();
  world.close();
}
if (stale.length) {
  console.error(`the guide's pictures are not of this program; make them anew (see ${import.meta.url.split('/').slice(-3).join('/')}):\n${stale.join('\n')}`);
  process.exit(1);
}
