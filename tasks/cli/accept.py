"""`darkroom accept`: bytes that were refused are archived as they are, after a person has had a look at them."""

import re

import click

from tasks.cli.ui.context import open_services, ring
from tasks.cli.ui.operator import who
from tasks.cli.ui.output import json_option, note, one_line, print_json
from tasks.refused import kind_of
from worker.errors import ArchiveError, NotFound
from worker.generation import Asset
from worker.redaction import secrets_hidden
from worker.services import Services

_ID = re.compile(r"(?:asset:)?(?P<generation>gen_\w+)(?:/(?P<index>\d{1,4}))?")
#: states in which an asset may still be archived
_OPEN = ("waiting", "expired")


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Do it; without it you are only shown what they are.")
@click.option("--why", default="", metavar="TEXT", help="Kept with your name.")
@json_option
@click.pass_context
def accept(ctx: click.Context, *, ids: tuple[str, ...], yes: bool, why: str, as_json: bool) -> None:
    """Archive refused bytes as they are, after a look.

    ID is an asset as `darkroom dead` and `darkroom at-risk` name it (asset:gen_1/0 or gen_1/0), or a generation: all
    its refused bytes. Each is shown with its kind, size, why it was refused, and a link that works for an hour. With
    --yes they are stored like any other result; the sidecar says who accepted them and why they had been refused. The
    exit code is 1 if nothing is kept of one of the IDs.
    """
    wanted = [_ID.fullmatch(one) for one in ids]
    wrong = next((one for one, match in zip(ids, wanted, strict=True) if match is None), None)
    if wrong is not None:
        raise click.UsageError(f"{wrong!r} is neither an asset, such as gen_1/0, nor a generation")
    missing = 0
    by = who()
    with open_services() as here:
        here.ledger.queries.get([match["generation"] for match in wanted if match])  # all of them, or nothing is done
        for match in filter(None, wanted):
            generation_id, index = match["generation"], match["index"]
            of_it = here.ledger.queries.assets_of([generation_id])[generation_id]
            chosen = [one for one in of_it if index is None or one.index == int(index)]
            kept = [one for one in chosen if one.refused is not None and one.state in _OPEN]
            if not kept:
                missing += 1
                _tell_of_nothing(match[0], as_json=as_json)
            for asset in kept:
                _tell(here, asset, done=yes, as_json=as_json)
            if yes and kept:
                here.ledger.deciding.accept(generation_id, [one.index for one in kept], by, " ".join(why.split()))
    if not yes:
        note("nothing was changed: repeat it with --yes to archive them")
    elif missing < len(wanted):
        ring("archive")
    ctx.exit(1 if missing else 0)


def _tell_of_nothing(asked: str, *, as_json: bool) -> None:
    message = "no refused bytes are kept of it; `darkroom show` tells what it has"
    if as_json:
        print_json({"id": asked, "done": False, "message": message})
    else:
        click.echo(f"{asked} {message}")


def _tell(here: Services, asset: Asset, *, done: bool, as_json: bool) -> None:
    refused = asset.refused
    assert refused is not None  # noqa: S101  chosen by it
    key = here.archive.keys.rejected(asset.generation_id, asset.index)
    kind, link, trouble = None, None, None
    try:
        with here.archive.read(key) as pieces:
            kind = kind_of(next(pieces, b"")[:64], refused.type)
        link = here.archive.url(key)
    except (ArchiveError, NotFound) as error:
        trouble = str(error)
    message = "will be archived as it is" if done else "would be archived as it is"
    if as_json:
        print_json({"id": f"asset:{asset.generation_id}/{asset.index}", "done": done, "bytes": refused.bytes,
                    "sha256": refused.sha256, "content_type": kind, "declared_type": refused.type, "key": key,
                    "look": link, "refused": secrets_hidden(refused.why), "trouble": trouble,
                    "message": message})  # fmt: skip
        return
    said = f", which the server called {refused.type}" if refused.type and refused.type != kind else ""
    click.echo(
        one_line(f"{asset.generation_id}/{asset.index}  {refused.bytes:,} bytes, {kind or 'not readable'}{said}")
    )
    click.echo(one_line(f"  refused: {secrets_hidden(refused.why)}"))
    click.echo(one_line(f"  {f'cannot be read now: {trouble}' if trouble else f'look: {link}'}"))
    click.echo(f"  {message}")
