// The tokens of a model's answer. Throws if the answer breaks off, and when the signal aborts.
export async function* tokens(prompt, signal) {
  const request = { model: 'any', stream: true, messages: [{ role: 'user', content: prompt }] }
  const answer = await fetch(`${process.env.MODEL}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(request),
    signal,
  })
  let rest = ''
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + piece).split('\n\n')
    rest = events.pop()
    for (const event of events) {
      const data = event.replace('data: ', '')
      if (data === '[DONE]') return
      const text = JSON.parse(data).choices[0].delta.content
      if (text) yield text
    }
  }
  throw new Error('the model ended before its answer did')
}
