"""Where no ledger is, no command leaves one behind, or anything else, except those that are there to make it."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tasks.cli import cli
from tests.tasks.cli.conftest import Darkroom
from worker.errors import ConfigurationError
from worker.ledger import Ledger

MAKE_IT = {"demo", "up", "db upgrade"}
#: what each of the others is called with here; a new command needs its line
ARGUMENTS = {
    "submit": ("a fox",),
    "list": (),
    "show": ("gen_1",),
    "watch": (),
    "at-risk": (),
    "verify": (),
    "spend": (),
    "retry": ("gen_1",),
    "unconfirmed": (),
    "resolve": ("gen_1", "--not-charged"),
    "cancel": ("gen_1",),
    "resume": ("acedata",),
    "events list": (),
    "events listen": (),
    "events resend": ("evt_1_1",),
    "events trigger": ("generation.failed",),
    "dead": (),
    "approvals": (),
    "approve": ("gen_1", "2,4"),
    "reject": ("gen_1",),
    "dead replay": ("--all",),
    "dead dismiss": ("--all",),
    "accept": ("gen_1",),
    "rescue": ("--provider", "acedata", "--since", "1h"),
    "reconcile": (),
    "delete": ("gen_1",),
    "prune": (),
    "db size": (),
    "db rehearse": (),
    "subscriber add": ("https://shop.example.com/hooks",),
    "subscriber list": (),
    **{f"subscriber {name}": ("shop",) for name in ("show", "test", "enable", "rotate", "remove")},
    "token create": ("studio", "--scope", "all"),
    "token list": (),
    "token revoke": ("studio",),
    "user add": ("anna", "--role", "viewer", "--no-password"),
    "user list": (),
    "user passwd": ("anna",),
    "user role": ("anna", "viewer"),
    "user remove": ("anna",),
    "audit-log": (),
    **{f"batch {name}": ("shop",) for name in ("show", "watch", "pause", "resume", "cancel", "retry", "results")},
    "batch limit": ("shop", "--max-in-flight", "5"),
    "batch check": ("shop.csv",),
    "batch submit": ("shop.csv",),
    "batch list": (),
    "batch reprioritize": ("shop", "3"),
    "batch move": ("shop", "--to", "kie"),
    "batch download": ("shop", "images"),
}
#: they have something to say without it
WORK_WITHOUT: dict[str, tuple[tuple[str, ...], int]] = {
    "providers": ((), 0),
    "doctor": ((), 1),
    # No process of this machine is asked for.
    "healthcheck": (("api",), 1),
    "recipe list": ((), 0),
    "recipe check": (("recipes/shop.yaml",), 0),
    "recipe show": (("shop",), 0),
    "recipe draw": (("shop",), 0),
}
#: has nothing of ours, and serves until it is stopped
SANDBOX = {"sandbox"}
#: speaks a protocol of its own
PROTOCOL = {"mcp"}
#: asks a person, and makes a ledger for the test that it offers
DIALOGUE = {"init"}


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield prefix + name
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


@pytest.fixture(params=["data folder", "no data folder", "DATABASE_URL"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ledger would be; it has nothing in it, or not even the folder."""
    folder = tmp_path / "place"
    monkeypatch.setenv("DARKROOM_DATA", str(folder))
    if request.param == "data folder":
        folder.mkdir()
    elif request.param == "DATABASE_URL":
        (folder / "elsewhere").mkdir(parents=True)
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{folder / 'elsewhere' / 'ledger.sqlite3'}")
    (tmp_path / "shop.csv").write_text("key,prompt\n1,a fox\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "shop.yaml").write_text("name: shop\nsteps: [{id: cut, do: split}]\n")
    monkeypatch.setenv("DARKROOM_RECIPES", str(tmp_path / "recipes"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    return folder


@pytest.fixture
def darkroom(place: Path, monkeypatch: pytest.MonkeyPatch) -> Darkroom:
    command = Darkroom(place)
    monkeypatch.setattr("worker.wakeup.ring", command.ring)
    return command


def test_every_command_has_its_place_here() -> None:
    assert set(commands(cli)) == MAKE_IT | ARGUMENTS.keys() | WORK_WITHOUT.keys() | SANDBOX | PROTOCOL | DIALOGUE


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_command_that_needs_a_ledger_says_so_in_one_sentence_and_makes_nothing(
    darkroom: Darkroom, place: Path, name: str
) -> None:
    before = sorted(place.parent.rglob("*"))
    result = darkroom(*name.split(), *ARGUMENTS[name], "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    if (place / "elsewhere").exists():
        sentence = (
            f"DATABASE_URL points to {place}/elsewhere/ledger.sqlite3, which does not exist: run `darkroom db upgrade`"
        )
    else:
        sentence = f"no ledger in {place} yet: start `darkroom up`"
    assert result.stderr.startswith(f"darkroom: {sentence}")
    assert result.stderr.count("\n") == 1
    assert sorted(place.parent.rglob("*")) == before


@pytest.mark.parametrize("name", sorted(WORK_WITHOUT))
def test_a_command_that_works_without_it_makes_none_either(darkroom: Darkroom, place: Path, name: str) -> None:
    before = sorted(place.parent.rglob("*"))
    arguments, exit_code = WORK_WITHOUT[name]
    result = darkroom(*name.split(), *arguments, "--json")
    assert result.exit_code == exit_code
    assert "Traceback" not in result.stderr
    assert ("run `darkroom db upgrade`" in result.stdout) == (name == "doctor")
    assert sorted(place.parent.rglob("*")) == before


def test_whoever_opens_it_without_a_look_makes_none_either(tmp_path: Path) -> None:
    """As workers and the receiver do, which start before the release command has run."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    for use in (ledger.generations.page, lambda: ledger.maintenance.beat("worker@host", 7)):
        with pytest.raises(ConfigurationError, match="file does not exist: run `darkroom db upgrade`"):
            use()
    ledger.close()
    assert list(tmp_path.iterdir()) == []
