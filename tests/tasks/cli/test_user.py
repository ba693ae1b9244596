"""Users of the console at the command line: passwords come from a terminal or from standard input alone."""

import json

import pytest

from tasks.cli.ui import password
from tasks.usecases.services import LedgerServices
from tasks.usecases.users import log_in
from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger

PASSWORD = "four unusual words here"
LINE = f"{PASSWORD}\n"


def add(darkroom: Darkroom, name: str = "anna", role: str = "operator") -> None:
    added = darkroom("user", "add", name, "--role", role, "--password-stdin", input=LINE)
    assert (added.exit_code, added.stdout) == (0, f"{name}: added as {role}\n"), added.output


def documents(darkroom: Darkroom, *arguments: str, input: str | None = None) -> list[dict]:  # noqa: A002 - click's word
    result = darkroom(*arguments, "--json", input=input)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def gets_in(ledger: Ledger, password: str, name: str = "anna") -> bool:
    class Here:
        pass

    here: LedgerServices = Here()  # type: ignore[assignment]
    here.ledger = ledger  # type: ignore[misc]
    return log_in(here, name, password) is not None


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "_is_terminal", lambda: True)


@pytest.mark.parametrize("line", [PASSWORD, LINE, f"{PASSWORD}\r\n", f"{LINE}another line\n"])
def test_a_password_is_the_first_line_of_standard_input(darkroom: Darkroom, ledger: Ledger, line: str) -> None:
    added = darkroom("user", "add", "anna", "--role", "viewer", "--password-stdin", input=line)
    assert PASSWORD not in added.output
    assert gets_in(ledger, PASSWORD)


def test_in_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    darkroom: Darkroom, ledger: Ledger, terminal: None
) -> None:
    typed = f"{PASSWORD}\nfour unusual words there\n{PASSWORD}\n{PASSWORD}\n"
    added = darkroom("user", "add", "anna", "--role", "viewer", input=typed)
    assert added.stdout == "anna: added as viewer\n"
    assert "do not match" in added.stderr
    assert PASSWORD not in added.output
    assert gets_in(ledger, PASSWORD)


@pytest.mark.parametrize("command", [("add", "anna", "--role", "viewer"), ("passwd", "anna")])
def test_where_nobody_can_be_asked_it_says_how_to_send_the_password(darkroom: Darkroom, command: tuple[str]) -> None:
    if command[0] == "passwd":
        add(darkroom)
    refused = darkroom("user", *command, input=LINE)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "add --password-stdin" in refused.stderr


@pytest.mark.parametrize(
    ("given", "exit_code", "said"),
    [
        ("", 2, "the first line of standard input has no password"),
        ("\nsecond\n", 2, "the first line of standard input has no password"),
        (b"caf\xe9 au lait noir\n", 2, "standard input is not UTF-8"),
        ("short\n", 1, "the password has 5 characters: use 12 to 1,000"),
        ("x" * 20_000, 1, "the password has 16,384 characters: use 12 to 1,000"),
    ],
)
def test_a_password_that_cannot_be_one_is_a_sentence(
    darkroom: Darkroom, given: str | bytes, exit_code: int, said: str
) -> None:
    refused = darkroom("user", "add", "anna", "--role", "viewer", "--password-stdin", input=given)
    assert (refused.exit_code, refused.stdout) == (exit_code, "")
    assert said in refused.stderr
    assert documents(darkroom, "user", "list") == []


@pytest.mark.parametrize("name", ["local", "an\x1b[2Jna", " anna", "a,b"])
def test_a_name_is_refused_before_anybody_types_a_password(darkroom: Darkroom, terminal: None, name: str) -> None:
    refused = darkroom("user", "add", name, "--role", "viewer")
    assert refused.exit_code == 1
    assert "Password" not in refused.output
    assert "\x1b" not in refused.output


def test_a_user_who_is_not_there_is_named_before_anybody_types_a_password(darkroom: Darkroom, terminal: None) -> None:
    add(darkroom)
    refused = darkroom("user", "passwd", "ana")
    assert (refused.exit_code, "Password" in refused.output) == (1, False)
    assert "did you mean 'anna'" in refused.stderr


def test_a_new_password_is_set_and_the_old_one_is_over(darkroom: Darkroom, ledger: Ledger) -> None:
    add(darkroom)
    changed = darkroom("user", "passwd", "anna", "--password-stdin", input="other words than before\n")
    assert changed.stdout == "anna: password set, and logged out everywhere\n"
    assert (gets_in(ledger, PASSWORD), gets_in(ledger, "other words than before")) == (False, True)


def test_users_are_listed_with_their_roles_and_removed_ones_on_demand(darkroom: Darkroom, ledger: Ledger) -> None:
    assert "There are no users" in darkroom("user", "list").stderr
    add(darkroom)
    add(darkroom, "ben", "viewer")
    gets_in(ledger, PASSWORD)
    assert darkroom("user", "role", "ben", "operator").stdout == "ben: operator from now on\n"
    first, second = (line.split("\t") for line in darkroom("user", "list").stdout.splitlines())
    assert (first[:2], first[2][:12]) == (["anna", "operator"], "logged in 20")
    assert second == ["ben", "operator", "never logged in"]
    assert darkroom("user", "remove", "anna").stdout == "anna: removed, and logged out everywhere\n"
    assert [one["name"] for one in documents(darkroom, "user", "list")] == ["ben"]
    assert darkroom("user", "list", "--all").stdout.splitlines()[0].startswith("anna\toperator\tremoved 20")


def test_a_user_of_the_proxy_alone_needs_no_password_and_gets_in_with_none(darkroom: Darkroom, ledger: Ledger) -> None:
    assert darkroom("user", "add", "anna", "--role", "operator", "--no-password").exit_code == 0
    assert not gets_in(ledger, "")
    both = darkroom("user", "add", "ben", "--role", "viewer", "--no-password", "--password-stdin")
    assert both.exit_code == 2
    assert "either --password-stdin or --no-password" in both.stderr


def test_no_document_has_a_password_or_its_hash(darkroom: Darkroom) -> None:
    made = documents(darkroom, "user", "add", "anna", "--role", "viewer", "--password-stdin", input=LINE)
    changed = documents(darkroom, "user", "passwd", "anna", "--password-stdin", input=LINE)
    listed = documents(darkroom, "user", "list")
    assert made == listed == changed
    assert set(listed[0]) == {"name", "id", "role", "created_at", "created_by", "logged_in_at", "removed_at"}
    assert "argon2" not in json.dumps(listed)
