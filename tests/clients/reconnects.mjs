// Reads events until there have been two, as a page would: reconnects.mjs CLIENT URL. Prints what it was told.

import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource } from 'eventsource';

const told = [];
const error = (data) => `error ${JSON.parse(data).code}`;

function eventsource(url, done) {
  const source = new EventSource(url);
  source.addEventListener('tick', ({ data }) => {
    told.push(data);
    if (data === 'two') done();
  });
  source.addEventListener('error', ({ data }) => told.push(data ? error(data) : 'lost'));
}

function fetchEvents(url, done) {
  // It is made for pages: it looks there for `fetch` and timers, and whether anybody sees the page.
  globalThis.window = globalThis;
  globalThis.document = { removeEventListener() {} };
  fetchEventSource(url, {
    openWhenHidden: true,
    onmessage({ event, data }) {
      told.push(event === 'error' ? error(data) : data);
      if (data === 'two') done();
    },
    onerror() { told.push('lost'); },
    onclose() {
      told.push('closed');
      done();
    },
  });
}

const CLIENTS = { eventsource, '@microsoft/fetch-event-source': fetchEvents };

const [name, url] = process.argv.slice(2);
await new Promise((resolve) => CLIENTS[name](url, resolve));
process.stdout.write(`${JSON.stringify(told)}\n`, () => process.exit(0));
