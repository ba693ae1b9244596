"""Tokens at the command line: shown once, listed by their first characters, revoked by name; and who did what."""

import json
import re
from datetime import timedelta

import pytest

from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger
from worker.ledger.access import NewAction

SECRET = re.compile(r"dk_(?:live|test)_\w{49}")


def documents(darkroom: Darkroom, *arguments: str) -> list[dict]:
    result = darkroom(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_token_is_shown_once_and_alone_on_standard_output(darkroom: Darkroom) -> None:
    made = darkroom("token", "create", "studio", "--scope", "generations:write", "--scope", "spend:read")
    assert SECRET.fullmatch(made.stdout.strip())
    assert "shown only once" in made.stderr
    listed = darkroom("token", "list")
    assert made.stdout.strip() not in listed.output
    (name, hint, state, scopes, used) = listed.stdout.rstrip("\n").split("\t")
    assert (name, state, scopes, used) == ("studio", "valid", "generations:write spend:read", "never used")
    assert made.stdout.startswith(hint.removesuffix("…"))


def test_a_program_reads_the_same(darkroom: Darkroom) -> None:
    options = ("--scope", "all", "--test", "--expires", "90d", "--rate", "5/minute")
    (made,) = documents(darkroom, "token", "create", "trial", *options)
    secret = made.pop("token")
    assert secret.startswith("dk_test_")
    (listed,) = documents(darkroom, "token", "list")
    assert listed == made
    facts = {name: listed[name] for name in ("name", "state", "scopes", "is_test", "rate", "used_at", "revoked_at")}
    assert facts == {
        "name": "trial",
        "state": "valid",
        "scopes": ["all"],
        "is_test": True,
        "rate": "5/minute",
        "used_at": None,
        "revoked_at": None,
    }
    assert listed["expires_at"] > listed["created_at"]
    assert secret not in json.dumps(listed)


def test_a_revoked_token_is_listed_only_on_demand_and_its_name_is_free(darkroom: Darkroom) -> None:
    darkroom("token", "create", "studio", "--scope", "all")
    again = darkroom("token", "create", "studio", "--scope", "all")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "there is already a valid token 'studio'" in again.stderr
    assert re.fullmatch(r"studio: revoked \(dk_live_\w{4}…\)\n", darkroom("token", "revoke", "studio").stdout)
    assert documents(darkroom, "token", "list") == []
    assert "There are no tokens" in darkroom("token", "list").stderr
    assert [one["state"] for one in documents(darkroom, "token", "list", "--all")] == ["revoked"]
    assert darkroom("token", "create", "studio", "--scope", "all").exit_code == 0
    assert darkroom("token", "revoke", "nobody").exit_code == 1


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        ((), 2, "give at least one --scope: generations:read, generations:write, "),
        (("--scope", "generation:write"), 1, "did you mean generations:write?"),
        (("--scope", "all", "--rate", "fast"), 1, "'fast' is not a rate such as 100/second"),
        (("--scope", "all", "--expires", "soon"), 2, "'soon' is not a time span such as 90m, 2h or 3d"),
    ],
)
def test_a_mistake_is_one_sentence(darkroom: Darkroom, options: tuple[str, ...], exit_code: int, said: str) -> None:
    result = darkroom("token", "create", "studio", *options)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr


def test_a_token_that_is_given_as_a_name_is_not_shown(darkroom: Darkroom) -> None:
    secret = darkroom("token", "create", "studio", "--scope", "all").stdout.strip()
    for command in (("token", "revoke", secret), ("token", "create", secret, "--scope", "all")):
        result = darkroom(*command)
        assert result.exit_code == 1
        assert secret not in result.output


def test_the_audit_log_says_who_asked_for_what(darkroom: Darkroom, ledger: Ledger) -> None:
    assert "No matching actions." in darkroom("audit-log").stderr
    for actor in ("studio", "local", "studio"):
        last = ledger.access.record_action(NewAction(door="api", actor=actor, action="POST /v1/generations"))
    ledger.access.record_answer(last, 201, "gen_7")
    lines = darkroom("audit-log").stdout.splitlines()
    assert [line.split("  ")[1:] for line in lines] == [
        ["studio", "POST /v1/generations", "201", "gen_7"],
        ["local", "POST /v1/generations", "not answered"],
        ["studio", "POST /v1/generations", "not answered"],
    ]
    assert [one["status"] for one in documents(darkroom, "audit-log", "--actor", "studio")] == [201, None]
    limited = darkroom("audit-log", "--limit", "2")
    assert (len(limited.stdout.splitlines()), limited.stderr) == (2, "2 shown; there are more: --limit N\n")


def test_old_actions_are_pruned_with_the_rest(darkroom: Darkroom, ledger: Ledger) -> None:
    clock = ledger.database.clock
    ledger.database.clock = lambda: clock() - timedelta(days=31)
    ledger.access.record_action(NewAction(door="api", actor="studio", action="POST /v1/generations"))
    ledger.database.clock = clock
    ledger.access.record_action(NewAction(door="api", actor="studio", action="POST /v1/generations"))
    for options in (("--dry-run",), ()):
        (pruned,) = documents(darkroom, "prune", *options)
        assert pruned["rows"]["actions"] == 1
    assert len(documents(darkroom, "audit-log")) == 1
