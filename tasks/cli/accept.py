"""`darkroom accept`: archive refused files unchanged, after a person has reviewed them."""

import click

from tasks.cli.ui.context import open_services
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.cli.ui.wakeup import ring
from tasks.usecases import accept as usecase
from tasks.usecases import views
from tasks.usecases.accept import AcceptRequest, AssetChoice, RefusedBytes, look_at_refused
from tasks.usecases.person import person
from worker.secrets import secrets_hidden
from worker.steps import Step


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Archive them; without --yes, only show them.")
@click.option("--why", default="", metavar="TEXT", help="Recorded with your name.")
@json_option
@click.pass_context
def accept(ctx: click.Context, *, ids: tuple[str, ...], yes: bool, why: str, as_json: bool) -> None:
    """Archive refused files unchanged, after a review.

    ID is an asset (asset:gen_1/0 or gen_1/0, as `darkroom dead` and `darkroom at-risk` print it), or a generation (its
    id or key), which means all of its refused files. Each file is shown with its type, size, the reason and a link that
    works for an hour. With --yes they are stored like any other result; the sidecar records who accepted them and why
    they were refused. The exit code is 1 if any of the IDs has no refused files.
    """
    asked: dict[AssetChoice, str] = {}
    found: list[int] = []

    def tell(choice: AssetChoice, kept: tuple[RefusedBytes, ...]) -> None:
        found.append(len(kept))
        if not kept:
            _print_nothing(asked[choice], as_json=as_json)
        for one in kept:
            _print(one, done=yes, as_json=as_json)

    by = person(who(), why)
    with open_services() as here:
        choices = usecase.read_choices(here, ids)
        asked |= zip(choices, ids, strict=True)
        if not yes:
            for choice, kept in zip(choices, look_at_refused(here, choices), strict=True):
                tell(choice, kept)
            if any(found):
                note("nothing was changed: repeat the command with --yes to archive them")
        else:
            try:
                usecase.accept(here, AcceptRequest(choices, by), tell)
            finally:
                if any(found):
                    ring(Step.ARCHIVE)
    if sum(found) > 1 and not as_json:
        click.echo(f"{sum(found):,} {'accepted' if yes else 'would be accepted'}")
    ctx.exit(0 if all(found) else 1)


def _print_nothing(asked: str, *, as_json: bool) -> None:
    document = views.of_none_refused(asked)
    if as_json:
        print_json(document)
    else:
        click.echo(f"{asked} {document['message']}")


def _print(one: RefusedBytes, *, done: bool, as_json: bool) -> None:
    document = views.of_refused(one, is_done=done)
    if as_json:
        print_json(document)
        return
    kind, declared = one.content_type, one.declared_type
    said = f", served as {declared}" if declared and declared != kind else ""
    click.echo(one_line(f"{one.generation_id}/{one.index}  {one.bytes:,} bytes, {kind or 'unreadable'}{said}"))
    click.echo(one_line(f"  refused: {secrets_hidden(one.refused)}"))
    click.echo(one_line(f"  {f'cannot be read now: {one.trouble}' if one.trouble else f'link: {one.link}'}"))
    click.echo(f"  {document['message']}")
