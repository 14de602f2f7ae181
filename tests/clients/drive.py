"""Drives one Python client through the cases: drive.py CLIENT URL CASE... Prints what it saw, one JSON text a line.

It goes on to the next case when it reads a line.
"""

import asyncio
import contextlib
import json
import sys
import urllib.request

LIMIT = 30


class Leave(Exception):
    """The case is for the client to leave after the first word."""


class SaidFirst(Exception):
    """An event said what was wrong. Then the stream ended, or the client raised."""

    def __init__(self, event, message, error):
        super().__init__(message)
        self.name = f"{event} then {type(error).__name__}" if error else event


def say(case, **what):
    print(json.dumps({"case": case, **what}), flush=True)


def openai_http2(url, case, on_word):
    import httpx

    # By prior knowledge: what it speaks is what is looked at here, and not certificates.
    with httpx.Client(http1=False, http2=True, timeout=LIMIT) as http_client:
        openai_chat(url, case, on_word, http_client=http_client)


def openai_chat(url, case, on_word, **options):
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=LIMIT, **options)
    question = [{"role": "user", "content": "?"}]
    with client.chat.completions.create(model=case, messages=question, stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                on_word(chunk.choices[0].delta.content)


def anthropic_messages(url, case, on_word):
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=LIMIT)
    question = [{"role": "user", "content": "?"}]
    with client.messages.create(model=case, messages=question, max_tokens=9, stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                on_word(event.delta.text)


def langchain(url, case, on_word):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=case, max_retries=0, timeout=LIMIT)
    for chunk in model.stream("?"):
        if chunk.content:
            on_word(chunk.content)


def ollama_chat(url, case, on_word):
    import ollama

    client = ollama.Client(host=url, timeout=LIMIT)
    for part in client.chat(model=case, messages=[{"role": "user", "content": "?"}], stream=True):
        if part.message.content:
            on_word(part.message.content)


def cohere_chat(url, case, on_word):
    import cohere
    import httpx

    client = cohere.ClientV2(base_url=url, api_key="none", timeout=LIMIT)
    failure = broken = None
    try:
        with contextlib.closing(client.chat_stream(model=case, messages=[{"role": "user", "content": "?"}])) as stream:
            for event in stream:
                if event.type == "content-delta":
                    on_word(event.delta.message.content.text)
                if event.type == "message-end" and event.delta.finish_reason == "ERROR":
                    failure = event.delta.error
    except httpx.TransportError as error:
        broken = error
    if failure:
        raise SaidFirst("message-end", failure, broken)
    if broken:
        raise broken


def gemini(url, case, on_word):
    from google import genai

    with genai.Client(api_key="none", http_options={"base_url": url, "timeout": LIMIT * 1000}) as client:
        for chunk in client.models.generate_content_stream(model=case, contents="?"):
            if chunk.text:
                on_word(chunk.text)


def a2a(url, case, on_word):
    asyncio.run(a2a_message(url, case, on_word, "1.0"))


def a2a_0_3(url, case, on_word):
    asyncio.run(a2a_message(url, case, on_word, "0.3"))


async def a2a_message(url, case, on_word, version):
    import httpx
    from a2a.client import ClientConfig, ClientFactory
    from a2a.types import AgentCapabilities, AgentCard, AgentInterface, Message, Part, Role, SendMessageRequest

    interface = AgentInterface(url=f"{url}/a2a", protocol_binding="JSONRPC", protocol_version=version)
    card = AgentCard(capabilities=AgentCapabilities(streaming=True), supported_interfaces=[interface])
    message = Message(message_id="1", role=Role.ROLE_USER, parts=[Part(text=case)])
    async with httpx.AsyncClient(timeout=LIMIT) as http_client:
        client = ClientFactory(ClientConfig(httpx_client=http_client)).create(card)
        async with contextlib.aclosing(client.send_message(SendMessageRequest(message=message))) as stream:
            async for response in stream:
                if response.HasField("artifact_update"):
                    on_word(response.artifact_update.artifact.parts[0].text)


def mcp_tool(url, case, on_word):
    asyncio.run(mcp_call(url, case, on_word))


async def mcp_call(url, case, on_word):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    left = asyncio.Event()

    async def on_progress(progress, total, message):
        try:
            on_word(message)
        except Leave:
            left.set()

    async with streamable_http_client(f"{url}/mcp") as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        call = asyncio.create_task(session.call_tool(case, read_timeout_seconds=LIMIT, progress_callback=on_progress))
        leaving = asyncio.create_task(left.wait())
        await asyncio.wait({call, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        has_left = not call.done()
        call.cancel()
        # Raised inside of the contexts, it would arrive in a group.
        error = Leave() if has_left else call.exception()
    if error:
        raise error


CLIENTS = {
    "openai": openai_chat,
    "openai-1": openai_chat,
    "openai-http2": openai_http2,
    "anthropic": anthropic_messages,
    "langchain-openai": langchain,
    "ollama": ollama_chat,
    "cohere": cohere_chat,
    "gemini": gemini,
    "a2a": a2a,
    "a2a-0.3": a2a_0_3,
    "mcp": mcp_tool,
}


def main(name, url, *cases):
    for case in cases:

        def on_word(word):
            say(case, word=word)
            if case == "complete":
                urllib.request.urlopen(f"{url}/ack", timeout=LIMIT).close()
            if case == "cancelled":
                raise Leave

        try:
            CLIENTS[name](url, case, on_word)
            say(case, end="complete")
        except Leave:
            say(case, end="left")
        except SaidFirst as error:
            say(case, end="error", type=error.name, message=str(error))
        except Exception as error:
            say(case, end="error", type=type(error).__name__, message=str(error))
        sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
