// Takes the WebSocket of a page in Chromium through the cases: websocket_page.mjs URL... Prints what it saw, one JSON text a line.

import { chromium } from 'playwright-core';

const args = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--ignore-certificate-errors',
];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', chromiumSandbox: false, args });

/** Runs in the page. */
async function play(url) {
  const LIMIT = 30_000, MIB = 1 << 20;

  const next = (socket, name) => new Promise((resolve, reject) => {
    socket.addEventListener(name, resolve, { once: true });
    if (name !== 'close') socket.addEventListener('close', ({ code }) => reject(new Error(`closed: ${code}`)), { once: true });
  });

  async function open(path, protocols = []) {
    const socket = new WebSocket(url + path, protocols);
    socket.binaryType = 'arraybuffer';
    const messages = [], waiting = [];
    socket.addEventListener('message', ({ data }) => {
      if (waiting.length) waiting.shift()(data);
      else messages.push(data);
    });
    const message = () => (messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve)));
    await next(socket, 'open');
    return { socket, message, messages };
  }

  async function echoed(sent) {
    const { socket, message } = await open('/echo');
    socket.send(sent);
    const got = await message();
    socket.close();
    if (typeof sent === 'string') return got === sent;
    const [ours, theirs] = [sent, new Uint8Array(got)];
    return ours.length === theirs.length && ours.every((byte, at) => byte === theirs[at]);
  }

  function incompressible() {
    const numbers = new DataView(new ArrayBuffer(MIB));
    for (let at = 0, state = 1; at < MIB; at += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      numbers.setUint32(at, state);
    }
    return new Uint8Array(numbers.buffer);
  }

  // A page can neither ping nor do without compression, and is not told why it was refused.
  const cases = {
    text: () => echoed('Grüße, 世界 🌍'),
    binary: () => echoed(new Uint8Array([...Array(256).keys()])),
    large_text: () => echoed('0123456789abcdef'.repeat(MIB / 16)),
    large_binary: () => echoed(incompressible()),
    async pings() {
      const { socket, message } = await open('/ping');
      const answer = await message();
      socket.close();
      return answer;
    },
    async closed_by_backend() {
      const { socket } = await open('/close');
      const { code, reason } = await next(socket, 'close');
      return [code, reason];
    },
    async closed_by_client() {
      const { socket } = await open('/echo');
      socket.close(4322, 'I have to go');
      const { code, wasClean } = await next(socket, 'close');
      return wasClean ? code : 'not clean';
    },
    async compressed() {
      const { socket, message } = await open('/agreed');
      const backend = JSON.parse(await message()).extensions;
      const sent = 'again and '.repeat(MIB / 10);
      socket.send(sent);
      if (await message() !== sent) throw new Error('another message');
      socket.close();
      return [socket.extensions.split(';', 1), backend];
    },
    async subprotocol() {
      const { socket, message } = await open('/agreed', ['chat.v2', 'chat.v1']);
      const backend = JSON.parse(await message()).subprotocol;
      socket.close();
      return [socket.protocol, backend];
    },
    refused: () => open('/refused').then(() => 'opened', (error) => error.message),
    async flood() {
      const { socket, messages } = await open('/flood');
      await next(socket, 'close');
      return [messages.length, messages.every((message, number) => message === `${number}:`.padEnd(1000, 'x'))];
    },
  };

  const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error('late')), LIMIT));
  const saw = {};
  for (const [name, run] of Object.entries(cases)) {
    saw[name] = await Promise.race([run(), late()]).catch((error) => `${error.name}: ${error.message}`);
  }
  return saw;
}

for (const url of process.argv.slice(2)) {
  const page = await browser.newPage();
  await page.goto(`${url.replace(/^ws/, 'http')}/page`);
  for (const [name, saw] of Object.entries(await page.evaluate(play, url))) {
    process.stdout.write(`${JSON.stringify({ url, case: name, saw })}\n`);
  }
  await page.close();
}
await browser.close();
