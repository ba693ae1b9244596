"""Each form of REDIS_URL with a real broker and real processes: from `darkroom submit` to the archived picture."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.computer import Computer, eventually
from tests.patience import patient
from tests.worker.providers.test_http import tls_server
from webhook import sandbox
from worker.embedded.servers import LOOPBACK, broker, free_port
from worker.settings.broker_url import redis_client

pytestmark = [pytest.mark.system, pytest.mark.processes]

PASSWORD, OF_THE_SENTINEL = "pa;ss/wo#rd", "of-the-sentinel"
LOGIN = f":{quote(PASSWORD, safe='')}"


@contextmanager
def program(folder: Path, name: str, *lines: str, more: tuple[str, ...] = ()) -> Iterator[None]:
    """The embedded broker's program with this configuration."""
    (executable, *_) = broker(folder / "unused", "secret", {"PATH": os.environ["PATH"]}).child.argv
    (folder / f"{name}.conf").write_text("\n".join([*lines, f"bind {LOOPBACK}", 'save ""', ""]))
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen([executable, f"{name}.conf", *more], cwd=folder, stdout=log)
    try:
        yield
    finally:
        process.kill()
        process.wait(timeout=patient(20))


@contextmanager
def watched_by_sentinels(folder: Path) -> Iterator[str]:
    """The first of them is away; they have another password than the master."""
    master, sentinel = free_port(), free_port()
    with (
        program(folder, "master", f"port {master}", f'requirepass "{PASSWORD}"'),
        program(
            *(folder, "sentinel", f"port {sentinel}", f"requirepass {OF_THE_SENTINEL}"),
            *(f"sentinel monitor main {LOOPBACK} {master} 1", f'sentinel auth-pass main "{PASSWORD}"'),
            more=("--sentinel",),
        ),
    ):
        hosts = f"{LOOPBACK}:1,{LOOPBACK}:{sentinel}"
        yield f"sentinel://{LOGIN}@{hosts}/3?master=main&sentinel_password={OF_THE_SENTINEL}"


@contextmanager
def on_a_socket(folder: Path) -> Iterator[str]:
    with program(folder, "broker", "port 0", f'unixsocket "{folder}/a b.sock"', f'requirepass "{PASSWORD}"'):
        yield f"unix://{LOGIN}@{quote(str(folder))}/a%20b.sock?db=3"


@contextmanager
def behind_tls(folder: Path) -> Iterator[str]:
    port = free_port()
    with (
        program(folder, "broker", f"port {port}", f'requirepass "{PASSWORD}"'),
        _tls_relay(folder, port) as tls_port,
    ):
        yield f"valkeys://{LOGIN}@{LOOPBACK}:{tls_port}/3?ssl_ca_certs={quote(str(folder))}/cert.pem"


@contextmanager
def _tls_relay(folder: Path, port: int) -> Iterator[int]:
    """The wheel's server cannot speak TLS, so something before it does; its port."""
    loop = asyncio.new_event_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(65536):
                writer.write(said)
                await writer.drain()
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            there = await asyncio.open_connection(LOOPBACK, port)
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = loop.run_until_complete(asyncio.start_server(serve, LOOPBACK, 0, ssl=tls_server(folder)))

    async def end() -> None:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(timeout=patient(20))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def answers(url: str) -> bool:
    try:
        with redis_client(url, 2) as client:
            return bool(client.ping())
    except Exception:  # whatever it is, it is not ready
        return False


BROKERS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "sentinel": watched_by_sentinels,
    "unix": on_a_socket,
    "tls": behind_tls,
}


@pytest.mark.parametrize("kind", BROKERS)
def test_work_is_done_through_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "home").mkdir()
    computer = Computer(tmp_path / "home")
    with BROKERS[kind](tmp_path) as url, sandbox.running(delay=0.1, size=64) as provider:
        eventually(lambda: answers(url), seconds=30)
        computer.env |= {"REDIS_URL": url, "ACEDATACLOUD_BASE_URL": provider.url, "PUBLIC_URL": computer.url}
        with computer.up():
            assert computer.darkroom("submit", "a lighthouse").stderr == "", "the broker took the wake-up"
            computer.until_all_is_archived()
            checks = computer.darkroom("doctor", "--json").stdout
            assert '"check": "broker", "verdict": "ok"' in checks
            with redis_client(url, 5) as client:
                prefixes = {key.partition(b":")[0] for key in client.scan_iter()}
            assert prefixes == {b"darkroom"}, "it was this database that the wake-ups went through"
    log = (computer.home / "up.log").read_text()
    for secret in (PASSWORD, LOGIN, OF_THE_SENTINEL):
        assert secret not in log
