// An application on Hono that streams tokens, served by two workers, each of which is replaced when it dies.

import cluster from 'node:cluster';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';

const WORDS = ['Streams ', 'are ', 'made ', 'of ', 'events.'];
const token = (text) => `data: ${JSON.stringify({ token: text })}\n\n`;

const app = new Hono();
app.get('*', (context) => streamSSE(context, async (stream) => {
  const [name] = context.req.path.match(/[a-z]+$/);
  for (const [number, word] of WORDS.entries()) {
    if (number === 2 && name === 'raises') throw new Error('the model is gone');
    if (number === 2 && name === 'killed') {
      // Whoever reads this kills the worker, which has half an event on the wire.
      await stream.write(token(`${process.pid}`) + token(word).slice(0, 14));
      await stream.sleep(3_600_000);
    }
    await stream.write(token(word));
  }
  await stream.write('data: [DONE]\n\n');
}));

if (cluster.isPrimary) {
  cluster.on('exit', () => cluster.fork().once('listening', () => console.log('a worker was replaced')));
  cluster.on('listening', (_, { port }) => console.log(`serving 127.0.0.1:${port}`));
  for (let workers = 0; workers < 2; workers += 1) cluster.fork();
} else {
  serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 });
}
