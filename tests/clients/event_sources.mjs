// Opens EventSources in a tab of Chromium, and closes the tab when it is told: event_sources.mjs URL COUNT.
// Prints a line of JSON when each of them has had an event, and ends when its standard input does.

import { chromium } from 'playwright-core';

const [url, count] = process.argv.slice(2);
const args = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', chromiumSandbox: false, args });
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
await page.goto(url);
const saw = await page.evaluate(async (count) => {
  const opened = [...Array(Number(count)).keys()].map((n) => new Promise((resolve, reject) => {
    const source = new EventSource(`/stream?${n}`);
    source.onmessage = () => resolve(n);
    source.onerror = () => reject(new Error(`stream ${n}`));
  }));
  const streams = await Promise.all(opened);
  return { streams: streams.length, protocol: performance.getEntriesByType('navigation')[0].nextHopProtocol };
}, count);
console.log(JSON.stringify(saw));
for await (const _ of process.stdin);
await page.close();
// The browser lives on: it is the tab that was closed.
await new Promise((resolve) => setTimeout(resolve, 60_000));
