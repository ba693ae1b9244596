"""`darkroom approve`, `reject` and `approvals`: the decisions that recipes wait for."""

import click

from tasks.cli.ui.context import open_ledger, open_services
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, many, note, one_line, print_json
from tasks.cli.ui.wakeup import ring
from tasks.durations import duration
from tasks.usecases import approvals as usecase
from tasks.usecases import views
from tasks.usecases.approval_links import approval_links
from tasks.usecases.person import person

_why = click.option("--why", default="", metavar="TEXT", help="Recorded with your name.")


def _read_numbers(_: click.Context, __: click.Parameter, given: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in given.replace(" ", ",").split(",") if part)
    except ValueError:
        raise click.BadParameter(f"{given!r} is not a list of numbers such as 2,4") from None


@click.command()
@click.argument("name", metavar="ID")
@click.argument("images", callback=_read_numbers)
@_why
@json_option
def approve(name: str, images: tuple[int, ...], why: str, *, as_json: bool) -> None:
    """Pick images of a result and continue its recipe with them.

    ID is the approval's id, or any name of its generation. IMAGES are numbers such as 2,4: 1 and 2 are in the top row.
    Repeating a decision changes nothing. A different decision is refused; the error says who made the first one, and
    when.
    """
    with open_services() as here:
        _tell(usecase.approve(here, name, images, person(who(), why)), as_json=as_json)


@click.command()
@click.argument("name", metavar="ID")
@_why
@json_option
def reject(name: str, why: str, *, as_json: bool) -> None:
    """Pick none of the images: the recipe's step does nothing.

    ID is the approval's id, or any name of its generation.
    """
    with open_services() as here:
        _tell(usecase.reject(here, name, person(who(), why)), as_json=as_json)


@click.command()
@click.option("--links", is_flag=True, help="Show a secret link for each; anyone who has it can decide.")
@json_option
def approvals(*, links: bool, as_json: bool) -> None:
    """List approvals that are waiting for a decision, oldest first.

    The links point to CONSOLE_URL or, if it is not set, to the private process on this machine.
    """
    number = 0
    with open_ledger() as here:
        link_of = approval_links(here.settings) if links else None
        for number, one in enumerate(usecase.pending(here), start=1):  # noqa: B007  used after the loop
            link = link_of and link_of(one.approval.id)
            if as_json:
                print_json(views.of_pending_approval(one, link))
                continue
            left = duration(one.approval.expires_at - here.clock())
            title = one_line(one.generation.key or one.generation.prompt)
            images = ", ".join(map(str, one.approval.images))
            click.echo(f"{one.approval.id}  {title}  step {one.approval.step}, images {images}, {left} left")
            if link is not None:
                click.echo(f"  {link}")
    if not number:
        note("No decisions are waiting.")
    elif not as_json:
        note("Decide with: darkroom approve ID 2,4, or darkroom reject ID")


def _tell(approved: usecase.Approved, *, as_json: bool) -> None:
    if as_json:
        print_json(views.of_approved(approved))
    else:
        created = f"; {many(approved.created, 'generation')} created" if approved.is_new else ""
        before = "" if approved.is_new else "already "
        click.echo(f"{approved.approval.id}: {before}{usecase.in_words(approved.approval)}{created}")
        if approved.is_new and approved.approval.picked and not approved.created:
            note(f"Nothing was created: `darkroom show {approved.approval.generation_id}` says why.")
    if approved.wakes:
        ring(*approved.wakes)
