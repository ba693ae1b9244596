"""Formats values for people; the browser converts times to the reader's own time zone."""

import secrets
from datetime import datetime, timedelta

from flask import Blueprint
from markupsafe import Markup, escape

from webhook.console.naming import coded
from webhook.console.problems import as_sentence
from worker.secrets import links_hidden, secrets_hidden


def filters(pages: Blueprint) -> None:
    """Add these functions as template filters, and give each form its own key."""
    pages.app_template_global("once_key")(lambda: secrets.token_urlsafe(18))
    for name, function in (
        *(("count", count), ("size", size), ("span", span), ("iso", iso), ("minute", minute)),
        *(("sentence", sentence), ("hidden", links_hidden), ("redacted", secrets_hidden), ("words", words)),
    ):
        pages.app_template_filter(name)(function)


def count(number: int) -> str:
    """Return `12,345`."""
    return f"{number:,}"


def size(number: int | None) -> str:
    """Return bytes as `1.4 MB`; nothing for None."""
    if number is None:
        return ""
    amount, unit = float(number), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 9.95 else f"{amount:.1f} {unit}"


def span(length: timedelta) -> str:
    """Return `45 s`, `12 min`, `3 h` or `4 days`: the largest unit that fits twice, or the smallest."""
    seconds = max(0.0, length.total_seconds())
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"


def sentence(text: str | None) -> Markup:
    """Return the words of a use case or of a provider as a sentence without secrets, with `commands` set as such."""
    told = str(secrets_hidden(text or "")).strip()
    if not told:
        return Markup("")
    # An unpaired backtick comes from somebody's own text.
    is_paired = told.count("`") % 2 == 0
    return (coded if is_paired else escape)(as_sentence(told))


def iso(at: datetime) -> str:
    """Return the moment for the attribute `datetime`."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def minute(at: datetime) -> str:
    """Return `3 May 2026, 14:05 UTC`, which the browser replaces with the reader's local time."""
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def words(reason: str) -> str:
    """Return a reason from the ledger, such as `server_error`, as words."""
    return str(secrets_hidden(reason)).replace("_", " ")
