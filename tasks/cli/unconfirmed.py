"""`darkroom unconfirmed`: submissions of which nobody knows whether they were taken, and what is known of each."""

from datetime import datetime, timedelta
from typing import Any

import click

from tasks.cli.candidates import perhaps
from tasks.cli.connection import open_ledger, read_settings
from tasks.cli.output import json_option, links_hidden, note, one_line, print_json, secrets_hidden
from worker.account_keys import DEFAULT_ACCOUNT, title_of
from worker.errors import ConfigurationError
from worker.generation import Operation, iso
from worker.ledger.unclear import Unclear
from worker.providers import PROVIDERS, provider_class
from worker.providers.listing import Listed
from worker.redaction import redact


@click.command()
@click.option("--provider", metavar="NAME", help="Only those of this provider.")
@json_option
def unconfirmed(provider: str | None, as_json: bool) -> None:
    """List submissions that may have been taken.

    Nobody knows whether the provider took and charged them. They are never submitted again by the program: their
    callback or the provider's list may still tell, and `darkroom resolve` writes down what you found out.
    """
    if provider is not None and provider not in PROVIDERS:
        raise ConfigurationError(f"there is no provider {provider!r}; there are: {', '.join(PROVIDERS)}")
    settings = read_settings()
    with open_ledger() as here:
        now = here.ledger.database.clock()
        found = here.ledger.unclear.all(provider)
    for one in found:
        facts = _facts(one, now, settings.horizon, calls_back=settings.public_url is not None)
        if as_json:
            print_json(facts)
        else:
            click.echo(_lines(one, facts, now, settings.horizon))
    if not found:
        note("there is none")
    elif not as_json:
        note("look into the provider's own history, then: darkroom resolve ID --charged|--not-charged|--resubmit")


def _facts(one: Unclear, now: datetime, horizon: timedelta, *, calls_back: bool) -> dict[str, Any]:
    generation = one.generation
    listed = _listed(generation.provider, generation.operation, calls_back=calls_back)
    over = one.sent_at + horizon
    return {
        "id": generation.id,
        "provider": generation.provider,
        "account": generation.account,
        "operation": generation.operation,
        "action": generation.action,
        "prompt": links_hidden(generation.prompt),
        "batch": generation.batch_id,
        "attempt": one.attempt_id,
        "sent_at": iso(one.sent_at),
        "seconds": round((now - one.sent_at).total_seconds(), 1),
        "reason": secrets_hidden(generation.reason),
        "error": secrets_hidden(one.error),
        "callbacks": one.callbacks,
        "listed": listed,
        "asked": one.asked if listed is not Listed.NO else 0,
        "asked_again_at": iso(one.asked_again_at) if listed is not Listed.NO else None,
        "perhaps": one.candidates,
        "horizon_at": iso(over),
        "horizon": "before" if now < over else "after",
    }


def _listed(provider: str, operation: Operation, *, calls_back: bool) -> Listed:
    """By what the provider's list would show it; without a callback URL, by the request if the list shows that."""
    if provider not in PROVIDERS:
        return Listed.NO
    kind = provider_class(provider)
    if calls_back or kind.listed is not Listed.BY_CALLBACK_URL:
        return kind.listed
    return Listed.BY_REQUEST if operation in kind.shown else Listed.NO


def _lines(one: Unclear, facts: dict[str, Any], now: datetime, horizon: timedelta) -> str:
    # Only people need what makes numbers readable.
    from tasks.cli.style import cut, duration, prompt_text  # noqa: PLC0415

    over = one.sent_at + horizon
    came = f"callbacks: {', '.join(one.callbacks)}" if one.callbacks else "no callback"
    if facts["listed"] is Listed.NO:
        looked = "no list that would show it"
    else:
        times = "once" if one.asked == 1 else f"{one.asked} times"
        looked = f"looked for in the list {times}, {_until(one.asked_again_at, now)}"
    due = f"leave it until {over.astimezone():%Y-%m-%d %H:%M}" if now < over else "it is yours to decide now"
    generation = one.generation
    whose = title_of(generation.provider, generation.account or DEFAULT_ACCOUNT)
    lines = [
        f"{generation.id}  {whose}  sent {duration(now - one.sent_at)} ago",
        cut(prompt_text(generation)),
        f"{came}; {looked}; {due}",
        redact(one.error or generation.message or ""),
        f"perhaps {candidates}" if (candidates := perhaps(generation.id, one.candidates)) else "",
    ]
    return "\n  ".join(one_line(line) for line in lines if line)


def _until(again: datetime | None, now: datetime) -> str:
    from tasks.cli.style import duration  # noqa: PLC0415

    if again is None:
        return "no more"
    return f"again in {duration(again - now)}" if again > now else "again now"
