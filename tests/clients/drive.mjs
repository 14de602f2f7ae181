// Drives one JavaScript client through the cases: drive.mjs CLIENT URL CASE... Prints what it saw, one JSON text a line.
// It goes on to the next case when it reads a line.

import { createInterface } from 'node:readline';

const LIMIT = 30_000;

/** The case is for the client to leave after the first word. */
class Leave extends Error {}

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function openai(url, model, onWord) {
  const { OpenAI } = await import('openai');
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, timeout: LIMIT });
  const messages = [{ role: 'user', content: '?' }];
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    if (chunk.choices[0].delta.content) await onWord(chunk.choices[0].delta.content);
  }
}

async function anthropic(url, model, onWord) {
  const { Anthropic } = await import('@anthropic-ai/sdk');
  const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0, timeout: LIMIT });
  const messages = [{ role: 'user', content: '?' }];
  for await (const event of await client.messages.create({ model, messages, max_tokens: 9, stream: true })) {
    if (event.type === 'content_block_delta') await onWord(event.delta.text);
  }
}

async function aiSdk(model, onWord) {
  const { streamText } = await import('ai');
  globalThis.AI_SDK_LOG_WARNINGS = false;
  const leaving = new AbortController();
  // Without `onError` it prints what it also hands over.
  const { fullStream } = streamText({ model, prompt: '?', maxRetries: 0, abortSignal: leaving.signal, onError() {} });
  try {
    for await (const part of fullStream) {
      if (part.type === 'text-delta') await onWord(part.text);
      if (part.type === 'error') throw part.error;
    }
  } finally {
    leaving.abort();
  }
}

async function aiSdkCompatible(url, model, onWord) {
  const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible');
  await aiSdk(createOpenAICompatible({ name: 'backend', baseURL: `${url}/v1` })(model), onWord);
}

async function aiSdkAnthropic(url, model, onWord) {
  const { createAnthropic } = await import('@ai-sdk/anthropic');
  await aiSdk(createAnthropic({ baseURL: `${url}/v1`, apiKey: 'none' })(model), onWord);
}

/** What `useChat` of the AI SDK keeps for a page, without the page. */
class ChatState {
  status = 'ready';
  error;
  messages = [];
  #onText;

  constructor(onText) {
    this.#onText = onText;
  }

  #set(messages) {
    this.messages = messages;
    const [last] = messages.slice(-1);
    if (last?.role === 'assistant') this.#onText(last.parts.map(({ text }) => text ?? '').join(''));
  }

  pushMessage = (message) => this.#set([...this.messages, message]);
  popMessage = () => this.#set(this.messages.slice(0, -1));
  replaceMessage = (at, message) => this.#set(this.messages.with(at, message));
  snapshot = (value) => structuredClone(value);
}

async function aiSdkUi(url, model, onWord) {
  const { AbstractChat, DefaultChatTransport } = await import('ai');
  class Chat extends AbstractChat {}
  let before = 0, failure;
  const onText = (text) => {
    const word = text.slice(before);
    before = text.length;
    if (word) onWord(word).catch((error) => { failure = error; chat.stop(); });
  };
  const transport = new DefaultChatTransport({ api: `${url}/ui-messages`, body: { case: model } });
  const chat = new Chat({ transport, state: new ChatState(onText) });
  await chat.sendMessage({ text: '?' });
  if (failure ?? chat.error) throw failure ?? chat.error;
}

async function agUi(url, model, onWord) {
  const { HttpAgent } = await import('@ag-ui/client');
  // Where the connection breaks, it leaves a promise rejected that nobody handles.
  process.on('unhandledRejection', () => {});
  const agent = new HttpAgent({ url: `${url}/ag-ui`, threadId: model });
  // What `runAgent` hands over it prints as well.
  console.error = () => {};
  let failure, said;
  const subscriber = {
    async onTextMessageContentEvent({ event }) {
      await onWord(event.delta).catch((error) => { failure = error; agent.abortRun(); });
    },
    onRunErrorEvent({ event }) { said = event.message; },
  };
  const broken = await agent.runAgent({ runId: 'r' }, subscriber).then(() => null, (error) => error);
  if (failure) throw failure;
  if (said) throw { name: broken ? `RUN_ERROR then ${nameOf(broken)}` : 'RUN_ERROR', message: said };
  if (broken) throw broken;
}

/** What a page does with an EventSource; runs in the page too. */
function readEvents(EventSource, url, onWord) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url);
    const close = (settle, value) => {
      source.close();
      settle(value);
    };
    source.onmessage = ({ data }) => {
      if (data === '[DONE]') return close(resolve);
      const word = JSON.parse(data).choices[0].delta.content;
      if (word) Promise.resolve(onWord(word)).catch((error) => close(reject, error));
    };
    // Our event has data; one that the browser makes for a lost connection has none.
    // The package for Node calls its `onerror` only for the latter.
    source.addEventListener('error', ({ data }) =>
      close(reject, { name: data ? 'error event' : 'connection error', message: data ?? '' }));
  });
}

async function eventsource(url, model, onWord) {
  const { EventSource } = await import('eventsource');
  await readEvents(EventSource, `${url}/events?case=${model}`, onWord);
}

let browser;

async function launch() {
  const { chromium } = await import('playwright-core');
  const args = [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ];
  return chromium.launch({ executablePath: '/usr/bin/chromium', chromiumSandbox: false, args });
}

async function chromium(url, model, onWord) {
  browser ??= await launch();
  const page = await browser.newPage();
  await page.goto(`${url}/page`);
  let leave;
  const left = new Promise((_, reject) => { leave = reject; });
  await page.exposeFunction('onWord', (word) => onWord(word).catch((error) => page.close().then(() => leave(error))));
  const source = `"/events?case=${model}"`;
  const read = page.evaluate(`(${readEvents})(EventSource, ${source}, onWord).then(() => null, (error) => error)`);
  // A page that is closed answers nothing any more.
  const error = await Promise.race([read.catch(() => left), left]);
  await page.close();
  if (error) throw error;
}

const CLIENTS = {
  'openai-node': openai,
  'anthropic-node': anthropic,
  'ai-sdk-openai-compatible': aiSdkCompatible,
  'ai-sdk-anthropic': aiSdkAnthropic,
  'ai-sdk-ui': aiSdkUi,
  'ag-ui': agUi,
  eventsource,
  chromium,
};

const nameOf = (error) => (error.constructor === Object ? error.name ?? 'error part' : error.constructor.name);

const [name, url, ...cases] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
for (const model of cases) {
  const onWord = async (word) => {
    say({ case: model, word });
    if (model === 'complete') await fetch(`${url}/ack`);
    if (model === 'cancelled') throw new Leave();
  };
  try {
    await CLIENTS[name](url, model, onWord);
    say({ case: model, end: 'complete' });
  } catch (error) {
    if (error instanceof Leave) say({ case: model, end: 'left' });
    else say({ case: model, end: 'error', type: nameOf(error), message: error.message });
  }
  await lines.next();
}
await browser?.close();
process.exit(0);
