// A proxy on http-proxy, which keeps its request to the backend when a client leaves: outliving.mjs PORT UPSTREAM

import http from 'node:http'
import httpProxy from 'http-proxy'

const [port, upstream] = process.argv.slice(2)
const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${upstream}` })
proxy.on('error', (_, req, res) => res.destroy())
http.createServer((req, res) => proxy.web(req, res)).listen(port, '127.0.0.1')
