"""`darkroom init`: the first settings, asked for one by one and written to `.env`."""

import sys
from pathlib import Path

import click

from tasks.cli.doctor import examine
from tasks.cli.ui.context import open_services, read_settings
from tasks.cli.ui.output import lines_only, note
from tasks.cli.ui.wakeup import ring
from tasks.usecases.first_settings import (
    check_answers,
    env_text,
    new_signing_keys,
    price_of_test,
    provider_names,
    provider_settings,
    request_of_test,
    write_env,
)
from tasks.usecases.ledger_tables import upgrade_ledger
from tasks.usecases.providers import provider_title
from tasks.usecases.submit import check, submit
from worker.errors import ConfigurationError
from worker.secrets import redact
from worker.settings import ENV_FILE_NAME
from worker.steps import Step


@click.command()
@click.option("--force", is_flag=True, help="Replace an existing .env without asking.")
def init(force: bool) -> None:
    """Create a first .env: provider key, bucket, public URL.

    Asks for each value, writes .env in this folder (readable only by you), runs `darkroom doctor`, and offers one paid
    test. Without a terminal it prints a template and writes nothing.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(env_text({}), nl=False)
        return
    # An error in the environment itself must not be blamed on an answer.
    check_answers({})
    path = Path(ENV_FILE_NAME).absolute()
    if path.exists() and not force and not click.confirm(f"{path} exists. Replace it?"):
        note("Nothing was changed.")
        return
    provider = click.prompt("Provider", type=click.Choice(provider_names()), default=provider_names()[0])
    values: dict[str, str] = {}
    _ask_provider(values, provider)
    _ask_bucket(values)
    _ask(values, "PUBLIC_URL", "Public URL of this machine (Enter: none, results are polled)")
    if "PUBLIC_URL" in values:
        values["DARKROOM_SIGNING_KEYS"] = new_signing_keys()
    write_env(path, values)
    note(f"\nWrote {path}. Checking it; broker and workers will be missing until you start `darkroom up`.\n")
    examine()
    note("")
    _offer_test(provider)
    note("Start everything with `darkroom up`.")


def _ask_provider(values: dict[str, str], provider: str) -> None:
    *others, key = provider_settings(provider)
    for name in others:
        _ask(values, name, f"Address of your {provider_title(provider)}", needed=True)
    # A provider at the user's own address may need no key.
    what = f"Key for {provider_title(provider)} (not shown{', Enter: none' if others else ''})"
    _ask(values, key, what, needed=not others, hidden=True, provider=provider)


def _ask_bucket(values: dict[str, str]) -> None:
    _ask(values, "S3_BUCKET", "S3 bucket (Enter: an embedded S3 server, files in darkroom-data)")
    if "S3_BUCKET" not in values:
        return
    _ask(values, "AWS_ENDPOINT_URL", "Address of the S3 store (Enter: AWS)")
    _ask(values, "AWS_ACCESS_KEY_ID", "Access key ID (Enter: this machine's credentials)")
    if "AWS_ACCESS_KEY_ID" in values:
        _ask(values, "AWS_SECRET_ACCESS_KEY", "Secret access key (not shown)", needed=True, hidden=True)
    _ask(values, "AWS_REGION", "Region (Enter: us-east-1)")


def _ask(
    values: dict[str, str],
    name: str,
    what: str,
    *,
    needed: bool = False,
    hidden: bool = False,
    provider: str | None = None,
) -> None:
    """Ask until the answer is valid, or empty if that is allowed."""
    while True:
        answer = click.prompt(what, default="", show_default=False, hide_input=hidden).strip()
        if not answer:
            if needed:
                note("A value is required.")
                continue
            return
        try:
            # A public URL requires signing keys, which are made later.
            check_answers({"DARKROOM_SIGNING_KEYS": new_signing_keys(), **values, name: answer}, provider)
        except ConfigurationError as error:
            note(lines_only(redact(str(error))))
        else:
            values[name] = answer
            return


def _offer_test(provider: str) -> None:
    try:
        upgrade_ledger(read_settings(), note)
        with open_services() as here:
            price = price_of_test(here, provider)
            cost = f"costs {price}" if price else "is charged by the provider; the price is not configured"
            if not click.confirm(f"Submit one test generation to {provider_title(provider)}? It {cost}."):
                return
            (made,) = submit(here, check(here, request_of_test(provider))).generations
    except ConfigurationError as error:
        note(f"Cannot offer a test: {redact(str(error))}")
        return
    ring(Step.DISPATCH)
    note(f"Queued {made.id}. It is submitted when `darkroom up` runs; follow it with `darkroom watch {made.id}`.")
