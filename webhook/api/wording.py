"""The API's own words for options and commands, which sentences of use cases name as the command line has them."""

import re

#: options that the API has under the same name, with underscores
OPTIONS = (
    *("--dry-run", "--expand-limit", "--follow-up", "--format", "--label", "--max-cost", "--max-in-flight"),
    *(
        "--max-submissions",
        "--may-pay-twice",
        "--name",
        "--new-version",
        "--option",
        "--priority",
        "--provider",
        "--recipe",
    ),
    *("--sheet", "--skip-invalid", "--start-at", "--template"),
)
#: command → the request that does the same
COMMANDS = {
    "`darkroom batch check`": "`dry_run`",
    "`darkroom batch list`": "`GET /v1/batches`",
    "`darkroom list`": "`GET /v1/generations`",
}
_OPTION = re.compile(rf"(?<![\w-])(?:{'|'.join(OPTIONS)})(?![\w-])")
_COMMAND = re.compile("|".join(map(re.escape, COMMANDS)))


def for_programs(sentence: str) -> str:
    """Return it with the names that a caller of the API knows."""
    named = _COMMAND.sub(lambda found: COMMANDS[found[0]], sentence)
    return _OPTION.sub(lambda found: f"`{found[0].removeprefix('--').replace('-', '_')}`", named)
