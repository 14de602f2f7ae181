// Takes POSTs and says so. Connections are closed after two idle seconds, which each response says (`Keep-Alive: timeout=2`).

import { createServer } from 'node:http';

const server = createServer((request, response) => {
  request.resume().on('end', () => response.setHeader('Content-Length', 5).end('taken'));
});
server.keepAliveTimeout = 2000;
server.listen(0, '127.0.0.1', () => console.log(`serving 127.0.0.1:${server.address().port}`));
