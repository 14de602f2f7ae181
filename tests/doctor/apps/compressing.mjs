// Express as a proxy that compresses: compressing.mjs PORT UPSTREAM

import compression from 'compression'
import express from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'

const [port, upstream] = process.argv.slice(2)
const app = express()
app.use(compression())
const proxy =
  createProxyMiddleware({
    target: `http://127.0.0.1:${upstream}`,
  })
app.use(proxy)
app.listen(port, '127.0.0.1')
