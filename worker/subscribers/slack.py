"""An event as a line of text, in the format that Slack and compatible chats accept."""

from collections.abc import Mapping
from typing import Any


def slack_message(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the body for a Slack incoming webhook; Discord accepts it at the address that ends with `/slack`."""
    data = event["data"]
    subject = data.get("key") or data.get("generation_id") or data.get("batch") or data.get("provider")
    counts = [f"{number} {state}" for state, number in data.get("counts", {}).items()]
    facts = [data.get("message") or data.get("reason"), *counts]
    text = " · ".join(str(part) for part in (event["type"], subject, data.get("batch")) if part)
    said = ", ".join(str(fact) for fact in facts if fact)
    if event.get("test"):
        text = f"(test) {text}"
    return {"text": _escaped(f"{text}: {said}" if said else text)}


def _escaped(text: str) -> str:
    """Escape text as Slack requires, so that no prompt becomes a mention of everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
