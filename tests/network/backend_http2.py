"""The same backend over HTTP/2 with prior knowledge."""

import asyncio
from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, RequestReceived, StreamReset
from h2.exceptions import StreamClosedError

from backend import EVENT, PACE, Backend


class Http2Backend(Backend):
    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        streams: dict[int, asyncio.Task[None]] = {}
        try:
            writer.write(connection.data_to_send())
            while data := await reader.read(65536):
                self._receive(connection.receive_data(data), connection, writer, port, streams)
                writer.write(connection.data_to_send())
        finally:
            for task in streams.values():
                task.cancel()

    def _receive(
        self,
        events: Iterable[Event],
        connection: H2Connection,
        writer: asyncio.StreamWriter,
        port: int,
        streams: dict[int, asyncio.Task[None]],
    ) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                path = dict(event.headers)[b":path"].decode()
                self.requests.put_nowait((path, port))
                answer = self._answer(connection, event.stream_id, path, writer)
                streams[event.stream_id] = asyncio.create_task(answer)
            elif isinstance(event, StreamReset) and event.stream_id in streams:
                streams[event.stream_id].cancel()

    async def _answer(self, connection: H2Connection, stream: int, path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/prefill":
            return
        is_stream = path in ("/silent", "/events")
        kind = "text/event-stream" if is_stream else "text/plain"
        body = EVENT if is_stream else self.name.encode()
        # With its length it is not sent in chunks.
        length = [] if is_stream else [("content-length", str(len(body)))]
        connection.send_headers(stream, [(":status", "200"), ("content-type", kind), *length])
        connection.send_data(stream, body, end_stream=not is_stream)
        writer.write(connection.data_to_send())
        while path == "/events":
            await asyncio.sleep(PACE)
            try:
                connection.send_data(stream, EVENT)
            except StreamClosedError:
                return
            writer.write(connection.data_to_send())
