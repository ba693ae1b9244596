"""A sheet of many rows, and kill -9 of everything in the middle: each row once in the end, and paid at most once."""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.computer import DARKROOM, Computer, eventually
from tests.patience import patient
from webhook import sandbox
from worker.ledger import Ledger
from worker.ledger.schema import batches, generations

#: 10,000 in the scenario that must hold; a test of each night has fewer
ROWS = int(os.environ.get("DARKROOM_KILLED_ROWS", "1000"))
SUBMIT = ("batch", "submit", "shop.csv", "--json")

pytestmark = [pytest.mark.system, pytest.mark.processes, pytest.mark.timeout(patient(600 + ROWS / 5))]


@pytest.fixture
def computer(tmp_path: Path) -> Iterator[Computer]:
    home = tmp_path / "home"
    home.mkdir()
    computer = Computer(home)
    (home / "shop.csv").write_text("sku,prompt\n" + "".join(f"{n:05},a fox {n}\n" for n in range(ROWS)))
    limits = {"ACEDATACLOUD_RATE": "1000", "ACEDATACLOUD_IN_FLIGHT": "1000", "DARKROOM_POLL_SECONDS": "2"}
    computer.env |= limits | {"PUBLIC_URL": computer.url}
    yield computer
    for left in computer.processes():
        left.kill()


def kill_all(computer: Computer) -> None:
    """Those of this computer, as a power cut ends them."""
    doomed = computer.processes()
    for process in doomed:
        process.kill()
    psutil.wait_procs(doomed, timeout=patient(10))


def up(computer: Computer) -> "subprocess.Popen[str]":
    with (computer.home / "up.log").open("a") as errors:
        process = subprocess.Popen(
            [DARKROOM, "up", "--json"], env=computer.env, cwd=computer.home, stdout=subprocess.PIPE, stderr=errors,
            text=True,
        )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline(), (computer.home / "up.log").read_text()
    return process


def in_ledger(computer: Computer, look: Callable[[Ledger], bool]) -> bool:
    with closing(Ledger(f"sqlite:///{computer.data / 'ledger.sqlite3'}")) as ledger:
        return look(ledger)


def is_half_written(ledger: Ledger) -> bool:
    with ledger.database.read() as connection:
        unfinished = connection.execute(batches.select().where(batches.c.unfinished_at.is_not(None))).first()
        return unfinished is not None and connection.execute(generations.select().limit(1)).first() is not None


def only_unclear_ones_are_left(computer: Computer) -> bool:
    (shown,) = computer.json("batch", "show", "shop")
    counts: dict[str, int] = shown["counts"]
    return counts.get("archived", 0) + counts.get("unconfirmed", 0) == ROWS


def test_each_row_is_there_once_and_paid_once_although_everything_was_killed(computer: Computer) -> None:
    with sandbox.running(delay=0, size=16) as provider:
        computer.env["ACEDATACLOUD_BASE_URL"] = provider.url
        running = up(computer)
        submitting = subprocess.Popen([DARKROOM, *SUBMIT], env=computer.env, cwd=computer.home)
        eventually(lambda: in_ledger(computer, is_half_written) or submitting.poll() is not None, seconds=60)
        submitting.kill()
        # On a fast machine it may have been done before.
        was_killed = submitting.wait() == -9
        (first,) = computer.json(*SUBMIT[:-1])
        assert (first["created"], first["existing"]) == ((ROWS, 0) if was_killed else (0, ROWS))
        eventually(lambda: provider.bill()["charges"] > ROWS // 20, seconds=120)
        kill_all(computer)
        running.communicate()
        assert provider.bill()["charges"] < ROWS, "it was to die in the middle"

        running = up(computer)
        (again,) = computer.json(*SUBMIT[:-1])
        assert (again["batch"], again["created"], again["existing"]) == (first["batch"], 0, ROWS)
        eventually(lambda: only_unclear_ones_are_left(computer), seconds=60 + ROWS / 10)
        # Their worker died with the POST, so the program does not send them again. The bill says that nobody has them.
        unclear = [row["id"] for row in computer.json("unconfirmed")]
        assert provider.bill()["charges"] == ROWS - len(unclear)
        if unclear:
            computer.darkroom("resolve", *unclear, "--not-charged", "--why", "not on the bill")
            computer.darkroom("retry", *unclear)
        watched = computer.darkroom("batch", "watch", "shop", seconds=60 + ROWS / 10)
        assert watched.returncode == 0, watched.stderr
        (shown,) = computer.json("batch", "show", "shop")
        assert {state: number for state, number in shown["counts"].items() if number} == {"archived": ROWS}
        assert provider.bill()["charges"] <= ROWS
        rows = computer.json("list", "--batch", "shop", "--all")
        assert Counter(row["key"] for row in rows) == {f"{n:05}": 1 for n in range(ROWS)}
        kill_all(computer)
        running.communicate()
