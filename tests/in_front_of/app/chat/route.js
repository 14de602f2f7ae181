import { tokens } from '../../tokens.mjs'

async function* events(prompt, signal) {
  for await (const token of tokens(prompt, signal)) yield `data: ${JSON.stringify({ token })}\n\n`
  yield 'data: [DONE]\n\n'
}

export async function POST(request) {
  const { prompt } = await request.json()
  const body = ReadableStream.from(events(prompt, request.signal)).pipeThrough(new TextEncoderStream())
  return new Response(body, {
    headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' },
  })
}
