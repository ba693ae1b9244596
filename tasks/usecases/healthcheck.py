"""Health of a process on this machine, for containers and process managers, which check often.

A receiver and the API answer for themselves, so only checks of a worker or a clock need the ledger.
"""

import http.client
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.usecases.services import LedgerServices


class Process(StrEnum):
    """The Procfile's names of long-running processes."""

    WEB = "web"
    API = "api"
    WORKER = "worker"
    CLOCK = "clock"


#: processes that listen: the settings of their address, and the defaults
_LISTENING = {
    Process.WEB: (("HOST", "0.0.0.0"), ("PORT", "8000")),  # noqa: S104  compared, not bound
    Process.API: (("API_HOST", "127.0.0.1"), ("API_PORT", "8001")),
}
#: addresses that mean all of this machine
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound
#: seconds to wait for a listening process to respond
_PATIENCE = 3.0
#: longer than the silence that is reported (`tasks.waiting.SILENCE`): the caller may restart the process
_DEAD_AFTER = timedelta(seconds=90)

_COMMANDS = {
    Process.API: r"-m webhook\.api\b",
    Process.WEB: r"-m webhook(?![\w.])",
    Process.WORKER: r"\bcelery\b.* -n worker\.",
    Process.CLOCK: r"\bcelery\b.* -n clock\.",
}


@dataclass(frozen=True, slots=True)
class Health:
    """`detail`: a sentence for people, without secrets."""

    process: Process
    is_well: bool
    detail: str


def process_of(command: str) -> Process | None:
    """Return the Procfile process with this command line; None if it is another program."""
    return next((process for process, words in _COMMANDS.items() if re.search(words, command)), None)


def listens(process: Process) -> bool:
    return process in _LISTENING


def check_listener(process: Process, env: Mapping[str, str]) -> Health:
    """Request /livez from a listening process, at the address in its settings."""
    host, port = (env.get(name) or default for name, default in _LISTENING[process])
    host = _EVERYWHERE.get(host, host)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        # Bypasses proxies from the environment.
        with closing(http.client.HTTPConnection(host, int(port), timeout=_PATIENCE)) as connection:
            connection.request("GET", "/livez", headers={"Connection": "close"})
            answer = connection.getresponse()
            is_well = answer.status == 200 and answer.read(3) == b"ok"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        return Health(process, is_well=False, detail=f"{process} does not answer at {where}: {reason}")
    if is_well:
        return Health(process, is_well=True, detail=f"{process} answers at {where}")
    other = f"another program answers at {where}: stop it, or set {_LISTENING[process][1][0]} to another port"
    return Health(process, is_well=False, detail=other)


def check_heartbeat(process: Process, here: "LedgerServices", host: str) -> Health:
    """Look for the latest heartbeat of the workers, or the clocks, of this host; raises LedgerUnavailable.

    A process that was asked to stop does not count.
    """
    now = here.clock()
    beats = [
        beat
        for beat in here.ledger.maintenance.heartbeats()
        if beat.role == process and beat.worker.partition("@")[2] == host and not beat.is_stopped
    ]
    if not beats:
        return Health(
            process, is_well=False, detail=f"no {process} on this host has reported: it is starting, or stopped"
        )
    silence = min(beat.silence(now) for beat in beats)
    said = f"reported {silence.total_seconds():.0f} s ago"
    if silence <= _DEAD_AFTER:
        return Health(process, is_well=True, detail=f"{process} {said}")
    return Health(process, is_well=False, detail=f"{process} hangs, or cannot reach broker or ledger: it last {said}")
