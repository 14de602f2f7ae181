// Takes the `ws` client through the cases: websocket_client.mjs AUTHORITY URL... Prints what it saw, one JSON text a line.

import { readFileSync } from 'node:fs';
import { text as read } from 'node:stream/consumers';
import WebSocket from 'ws';

const LIMIT = 30_000;
const MIB = 1 << 20;

const [authority, ...urls] = process.argv.slice(2);
const ca = readFileSync(authority);

/** The next time that something happens, or the error that comes in its place. */
const next = (socket, name) => new Promise((resolve, reject) => {
  socket.once(name, (...what) => resolve(what));
  socket.once('error', reject);
});

/** A socket that is open, and a way to the messages that it gets from its beginning. */
async function open(url, protocols = [], options = {}) {
  const socket = new WebSocket(url, protocols, { ca, maxPayload: 0, ...options });
  const messages = [], waiting = [];
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    if (waiting.length) waiting.shift()(message);
    else messages.push(message);
  });
  const message = () => (messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve)));
  await next(socket, 'open');
  return { socket, message, messages };
}

async function echoed(url, sent, options) {
  const { socket, message } = await open(`${url}/echo`, [], options);
  socket.send(sent);
  const got = await message();
  socket.close();
  return typeof sent === 'string' ? got === sent : sent.equals(got);
}

function incompressible() {
  const numbers = Buffer.alloc(MIB);
  for (let at = 0, state = 1; at < MIB; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    numbers.writeUInt32BE(state, at);
  }
  return numbers;
}

const names = (socket) => socket.extensions.split(',').filter(Boolean);

const CASES = {
  text: (url) => echoed(url, 'Grüße, 世界 🌍'),
  binary: (url) => echoed(url, Buffer.from([...Array(256).keys()])),
  large_text: (url) => echoed(url, '0123456789abcdef'.repeat(MIB / 16)),
  // What does not shrink is as large on the wire.
  large_binary: (url) => echoed(url, incompressible(), { perMessageDeflate: false }),
  async pings(url) {
    const { socket, message } = await open(`${url}/ping`);
    const pong = next(socket, 'pong');
    socket.ping('hello?');
    if ((await pong)[0].toString() !== 'hello?') throw new Error('another pong');
    const answer = await message();
    socket.close();
    return answer;
  },
  async closed_by_backend(url) {
    const { socket } = await open(`${url}/close`);
    const [code, reason] = await next(socket, 'close');
    return [code, reason.toString()];
  },
  // Whoever gets a close frame sends its code back.
  async closed_by_client(url) {
    const { socket } = await open(`${url}/echo`);
    socket.close(4322, 'I have to go');
    return (await next(socket, 'close'))[0];
  },
  async compressed(url) {
    const { socket, message } = await open(`${url}/agreed`);
    const backend = JSON.parse(await message()).extensions;
    const sent = 'again and '.repeat(MIB / 10);
    socket.send(sent);
    if (await message() !== sent) throw new Error('another message');
    // Both ways: what was written and read is far less than what was sent and received.
    const { bytesWritten, bytesRead } = socket._socket;
    if (bytesWritten + bytesRead > MIB / 10) throw new Error(`${bytesWritten} and ${bytesRead} bytes`);
    socket.close();
    return [names(socket), backend];
  },
  async uncompressed(url) {
    const { socket, message } = await open(`${url}/agreed`, [], { perMessageDeflate: false });
    const backend = JSON.parse(await message()).extensions;
    socket.close();
    return [names(socket), backend];
  },
  async subprotocol(url) {
    const { socket, message } = await open(`${url}/agreed`, ['chat.v2', 'chat.v1']);
    const backend = JSON.parse(await message()).subprotocol;
    socket.close();
    return [socket.protocol, backend];
  },
  async refused(url) {
    const socket = new WebSocket(`${url}/refused`, { ca });
    const [, response] = await next(socket, 'unexpected-response');
    return [response.statusCode, response.headers['content-type'], JSON.parse(await read(response)).error.code];
  },
  async flood(url) {
    const { socket, messages } = await open(`${url}/flood`);
    await next(socket, 'close');
    return [messages.length, messages.every((message, number) => message === `${number}:`.padEnd(1000, 'x'))];
  },
};

const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error('late')), LIMIT).unref());

for (const url of urls) {
  for (const [name, play] of Object.entries(CASES)) {
    const saw = await Promise.race([play(url), late()]).catch((error) => `${error.name}: ${error.message}`);
    process.stdout.write(`${JSON.stringify({ url, case: name, saw })}\n`);
  }
}
process.exit(0);
