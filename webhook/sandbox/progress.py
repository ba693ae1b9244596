"""The sandbox's live log: one line for each submission and each callback."""

import logging
import re
from collections.abc import Mapping
from typing import Any

#: characters of a prompt
SHOWN = 60

_LINK = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s?#]*)([?#]\S*)?", re.IGNORECASE)

log = logging.getLogger(__name__)


def tell(entry: Mapping[str, Any]) -> None:
    """Log an entry of the journal at INFO; queries and downloads are skipped."""
    if log.isEnabledFor(logging.INFO) and (say := _SAYS.get(entry["kind"])):
        log.info("%s: %s", entry["provider"], plain(say(entry)))


def plain(text: str) -> str:
    """Return `text` as one printable line, without the passwords and queries of its links, which may be secrets."""
    hidden = _LINK.sub(lambda found: found[1] + found[2] + ("?…" if found[3] else ""), text)
    return "".join(sign if sign.isprintable() else " " for sign in hidden)


def _submission(entry: Mapping[str, Any]) -> str:
    asked = f"{entry.get('action') or 'a request'} “{_shortened(entry.get('prompt') or '')}”"
    fault = f" (fault {entry['fault']})" if entry.get("fault") else ""
    if "task_id" not in entry:
        return f"{asked} was refused: {entry['message']}{fault}"
    return f"{asked} was accepted as task {entry['task_id']}{fault}"


def _callback(entry: Mapping[str, Any]) -> str:
    which = f"callback of task {entry['task_id']} at {entry['progress']} % to {entry['url']}"
    if "seconds" not in entry:
        return f"{which} was not sent: {entry['error']}"
    reply = f"HTTP {entry['status']}" if "status" in entry else f"no response: {entry['error']}"
    return f"{which}: {reply} after {entry['seconds'] * 1000:.0f} ms"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


_SAYS = {"submit": _submission, "callback": _callback}
