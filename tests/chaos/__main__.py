"""Strike a working Darkroom with faults of every kind, and see that nothing is lost and nothing is paid twice.

Everything runs in processes of its own: Darkroom as the Procfile has it, broker, S3 server, database, pretend provider.
A naive Celery program works beside it at the same broker and bucket, and is struck by the same faults at the same time.

It must hold: nobody is charged twice for a generation, no generation and no picture is lost, and each is at its end or
visibly unconfirmed within 60 seconds after the last fault. Then the exit code is 0, else 1 and everything is kept for a
look. The seed decides which fault comes when, whom it hurts, and the chance of the provider; which request meets a
fault depends on how the kernel schedules the processes, and no seed repeats that.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable

from tests.chaos.report import complaints, document, table
from tests.chaos.run import Run, carry_out, new_folder
from tests.figures.results import record
from worker.errors import ConfigurationError

DATABASES = ("sqlite", "postgresql")


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    if chosen.database is None:
        # Each in a process of its own: Celery's pools would go on to the broker of the run before.
        given = sys.argv[1:] if arguments is None else arguments
        one = [sys.executable, "-m", "tests.chaos", *given, "--database"]
        return max([subprocess.run([*one, database], check=False).returncode for database in DATABASES])
    try:
        return _run(chosen)
    except ConfigurationError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("chaos: stopped before the end", file=sys.stderr)
        return 130


def _run(chosen: argparse.Namespace) -> int:
    naive = not (chosen.skip_naive or chosen.kills_only)
    wanted = Run(chosen.generations, chosen.faults, chosen.seed, chosen.database, chosen.kills_only, naive)
    folder = new_folder()
    result = carry_out(wanted, folder)
    found = document(wanted, result)
    if chosen.record:
        asked = {name: getattr(wanted, name) for name in ("generations", "faults", "kills_only", "naive")}
        record("chaos", [{"asked": asked, **found}], replaces=("asked", "database"))
    print(json.dumps(found) if chosen.json else f"{table(wanted, result)}\n", flush=True)
    if result.is_good:
        shutil.rmtree(folder)
        return 0
    print(*complaints(result), f"everything is kept in {folder}", sep="\n", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="A run takes 2 seconds per fault and 1 or 2 minutes more: about 6 minutes for each database by default.",
    )
    parser.add_argument("--generations", type=_at_least(1), default=1000, metavar="N", help="besides their follow-ups")
    parser.add_argument("--faults", type=_at_least(1), default=150, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--database", choices=DATABASES, help="only this one; else one after the other")
    parser.add_argument("--kills-only", action="store_true",
                        help="only kill workers, and the broker with its memory, evenly over all the work; without the "
                        "naive program. For example --generations 20000 --faults 40")  # fmt: skip
    parser.add_argument("--skip-naive", action="store_true", help="leave the naive program out")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each database instead of a table")
    parser.add_argument("--record", action="store_true", help="keep the result in tests/figures/results.json")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
