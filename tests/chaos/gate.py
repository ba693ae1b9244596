"""What stands between the programs and the S3 server: it lets everything through, or answers 503, or lets it hang."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

_BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_REFUSAL = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    + f"Content-Length: {len(_BODY)}\r\n\r\n".encode()
    + _BODY
)


class Mode(StrEnum):
    OPEN = "open"
    REFUSING = "refusing"
    HANGING = "hanging"


class Gate:
    """Listens at `port` of the loopback address, for the server at `server_port`. `met`: what it did to how many."""

    def __init__(self, server_port: int) -> None:
        self.met = {Mode.REFUSING: 0, Mode.HANGING: 0}
        self._server_port = server_port
        self._mode = Mode.OPEN
        self._passing = asyncio.Event()
        self._passing.set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def set(self, mode: Mode) -> None:
        self._loop.call_soon_threadsafe(self._set, mode)

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.HANGING:
            self._passing.clear()
        else:
            self._passing.set()
        if mode is Mode.REFUSING:
            # A connection that is kept alive would go on as if nothing were wrong.
            for writer in self._connections:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            await self._pass_or_refuse(reader, writer)
        writer.close()

    async def _pass_or_refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.REFUSING:
            self.met[Mode.REFUSING] += 1
            # Read first: closing with unread bytes would reset the connection and lose the answer.
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_REFUSAL)
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 1)
            return
        self._connections.add(writer)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        back = asyncio.ensure_future(self._pump(server_reader, writer))
        try:
            await self._pump(reader, server_writer)
        finally:
            self._connections.discard(writer)
            server_writer.close()
            back.cancel()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if not self._passing.is_set():
                    self.met[Mode.HANGING] += 1
                    await self._passing.wait()
                writer.write(piece)
                await writer.drain()
            writer.close()


@contextmanager
def gate(server_port: int) -> Iterator[Gate]:
    opened = Gate(server_port)
    try:
        yield opened
    finally:
        opened.close()
