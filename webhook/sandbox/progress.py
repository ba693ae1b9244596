"""What somebody who watches the sandbox is told as it happens: one line for each submission and each callback."""

import logging
import re
from collections.abc import Mapping
from typing import Any

#: characters of a prompt
SHOWN = 60

_LINK = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s?#]*)([?#]\S*)?", re.IGNORECASE)

log = logging.getLogger(__name__)


def tell(entry: Mapping[str, Any]) -> None:
    """An entry of the journal, at INFO; nothing for a question or a download."""
    if log.isEnabledFor(logging.INFO) and (say := _SAYS.get(entry["kind"])):
        log.info("%s: %s", entry["provider"], plain(say(entry)))


def plain(text: str) -> str:
    """One harmless line: of its links neither passwords nor queries, which may be secrets."""
    hidden = _LINK.sub(lambda found: found[1] + found[2] + ("?…" if found[3] else ""), text)
    return "".join(sign if sign.isprintable() else " " for sign in hidden)


def _submission(entry: Mapping[str, Any]) -> str:
    asked = f"{entry.get('action') or 'a request'} “{_shortened(entry.get('prompt') or '')}”"
    fault = f" (fault {entry['fault']})" if entry.get("fault") else ""
    if "task_id" not in entry:
        return f"{asked} was not taken: {entry['message']}{fault}"
    return f"{asked} was taken as task {entry['task_id']}{fault}"


def _callback(entry: Mapping[str, Any]) -> str:
    which = f"callback of task {entry['task_id']} at {entry['progress']} % to {entry['url']}"
    if "seconds" not in entry:
        return f"{which} was not sent: {entry['error']}"
    told = f"HTTP {entry['status']}" if "status" in entry else f"no answer: {entry['error']}"
    return f"{which}: {told} after {entry['seconds'] * 1000:.0f} ms"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


_SAYS = {"submit": _submission, "callback": _callback}
