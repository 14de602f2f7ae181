// Keeps an EventSource of Chromium open while its backend restarts, once for each line of standard input: restarts.mjs URL.
// Prints a line when events come, and one with what the page saw when they come again or never will.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const args = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', chromiumSandbox: false, args });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();

/** Runs in the page; resolves when events come. */
function open() {
  const ENOUGH = 5, LIMIT = 30_000;
  const source = new EventSource('/events');
  const saw = { ids: [], errors: [], lost: 0, end: null, seconds: null };
  window.rest = new Promise((resolve) => {
    let lostAt, after = 0;
    const end = (how) => {
      source.close();
      resolve({ ...saw, end: how });
    };
    setTimeout(() => end('silent'), LIMIT);
    source.addEventListener('message', ({ lastEventId }) => {
      saw.ids.push(Number(lastEventId));
      if (!saw.lost) return;
      saw.seconds ??= (performance.now() - lostAt) / 1000;
      if (++after === ENOUGH) end('resumed');
    });
    source.addEventListener('error', ({ data }) => {
      // An event of the stream that is called `error`, or the source's own.
      if (data) return saw.errors.push(JSON.parse(data).code);
      lostAt ??= performance.now();
      saw.lost += 1;
      after = 0;
      if (source.readyState === EventSource.CLOSED) end('closed');
    });
  });
  return new Promise((resolve) => source.addEventListener('message', () => saw.ids.length === ENOUGH && resolve()));
}

await page.goto(`${process.argv[2]}/page`);
const protocol = await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol");
for await (const _ of createInterface({ input: process.stdin })) {
  await page.evaluate(open);
  console.log(JSON.stringify({ protocol }));
  console.log(JSON.stringify(await page.evaluate('window.rest')));
}
await browser.close();
