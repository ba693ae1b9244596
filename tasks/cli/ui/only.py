"""`--only moderation,provider`: why something failed."""

import click

from worker.failures import Category

#: never retried: it is unknown whether these are paid for
_NEVER = Category.UNCONFIRMED


def _read(_: click.Context, __: click.Parameter, given: str) -> frozenset[Category]:
    words = [word.strip() for word in given.split(",") if word.strip()]
    if _NEVER in words:
        raise click.BadParameter("unconfirmed generations may be paid for: use `darkroom resolve`")
    for word in words:
        if word not in set(Category):
            known = ", ".join(one for one in Category if one is not _NEVER)
            raise click.BadParameter(f"{word!r} is not a reason; expected one or more of {known}, separated by commas")
    return frozenset(map(Category, words))


only_option = click.option(
    "--only", default="", callback=_read, metavar="REASONS",
    help="Only what failed for these reasons, such as moderation,provider; `darkroom show` names the reason.",
)  # fmt: skip
