// Makes a call of MCP and listens: resume.mjs URL. Prints the text of its result, and of the first message that is heard.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

const [url] = process.argv.slice(2);
const client = new Client({ name: 'client', version: '1' });
const heard = new Promise((resolve) => {
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => resolve(params.data));
});
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const { content: [{ text }] } = await client.callTool({ name: 'work', arguments: {} });
console.log(JSON.stringify([text, await heard]));
await client.close();
