// A chat on Express that streams the answer of a model: MODEL=http://… node express_app.mjs PORT

import express from 'express'
import { tokens } from './tokens.mjs'

const app = express()
app.use(express.json())

app.post('/chat', async (req, res) => {
  const left = new AbortController()
  res.on('close', () => left.abort())
  res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
  res.flushHeaders()
  for await (const token of tokens(req.body.prompt, left.signal)) {
    res.write(`data: ${JSON.stringify({ token })}\n\n`)
  }
  res.end('data: [DONE]\n\n')
})

app.get('/health', (_, res) => res.sendStatus(200))

app.listen(process.argv[2], '127.0.0.1')
