"""`darkroom providers`: what each can do, without any key."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import worker.providers
from tasks.usecases.entry import FIRST
from tasks.usecases.inputs import image_options
from tasks.usecases.providers import NORMALISED
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import AccountBlocked
from worker.generation import Operation, operation_of
from worker.ledger import Ledger
from worker.providers import PROVIDERS, provider_class


def tables(darkroom: Darkroom, *names: str) -> dict[str, dict[str, Any]]:
    result = darkroom("providers", *names, "--json")
    assert result.exit_code == 0
    return {one["name"]: one for one in map(json.loads, result.stdout.splitlines())}


def test_every_provider_is_one_object_without_any_key(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACEDATACLOUD_API_TOKEN")
    found = tables(darkroom)
    assert list(found) == list(PROVIDERS)
    assert not any(one["configured"] for one in found.values())
    assert "ACEDATACLOUD_API_TOKEN is not set" in found["acedata"]["missing"]
    ace = found["acedata"]
    assert {"imagine", "upscale"} <= set(ace["operations"]) == set(ace["by_operation"])
    assert ace["by_operation"]["imagine"]["speed"] == "relax, fast or turbo"
    assert set(ace["options"]) == {name for options in ace["by_operation"].values() for name in options}
    assert "hd" in ace["own_options"]
    assert ace["versions"]["8.1"] == ["quality", "speed=turbo"]
    assert "speed" not in ace["own_options"]
    assert (ace["callback"], ace["retention_days"]) == ("unsigned", 1)


def test_the_settings_of_this_machine_are_in_it(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEDATACLOUD_RATE", "2.5")
    (ace,) = tables(darkroom, "acedata").values()
    assert (ace["configured"], ace["missing"], ace["rate"], ace["in_flight"]) == (True, None, 2.5, 100)


def test_the_table_for_people_fits_80_columns(darkroom: Darkroom) -> None:
    output = darkroom("providers").stdout
    assert max(len(line.rstrip()) for line in output.splitlines()) <= 80
    (imagine,) = (line.split() for line in output.splitlines() if line.startswith("imagine "))
    assert imagine == ["imagine", *["✓"] * len(PROVIDERS)]
    for operation in Operation:
        assert f"\n{operation} " in output


@pytest.mark.parametrize("name", PROVIDERS)
def test_one_provider_is_shown_with_each_option_and_what_it_allows(darkroom: Darkroom, name: str) -> None:
    output = darkroom("providers", name).stdout
    assert max(len(line.rstrip()) for line in output.splitlines()) <= 80
    assert provider_class(name).title in output
    words = " ".join(output.split())
    for operation, capability in provider_class(name).capabilities.items():
        assert operation in words
        for option, about in capability.options.items():
            assert f"{option} {about.allowed}" in words
    assert ("8.2, 8.1 (no quality, speed=turbo), 8 (no --iw)" in words) == (name != "kie")


def test_a_provider_that_nobody_has_is_one_sentence(darkroom: Darkroom) -> None:
    result = darkroom("providers", "nobody")
    assert result.exit_code == 1
    assert result.stderr.startswith("darkroom: unknown provider 'nobody'; expected one of acedata")


def test_every_option_that_takes_pictures_takes_files_of_this_machine_too() -> None:
    taken = {
        name
        for provider in PROVIDERS
        for capability in provider_class(provider).capabilities.values()
        for name, option in capability.options.items()
        if "picture" in option.allowed
    }
    assert taken <= image_options() <= NORMALISED


def test_every_operation_begins_something_or_follows_it() -> None:
    actions = {
        action
        for provider in PROVIDERS
        for capability in provider_class(provider).capabilities.values()
        for action in capability.actions
    }
    follow = {operation_of(action) for action in actions}
    # A split is done here.
    assert follow | set(FIRST) | {Operation.SPLIT} == set(Operation)
    assert not follow & set(FIRST)


def test_a_new_vendor_is_a_folder_and_a_line(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "acme"
    folder.mkdir()
    (folder / "__init__.py").write_text("from worker.providers.acme.adapter import Acme\n", encoding="utf-8")
    (folder / "adapter.py").write_text(
        """
from worker.generation import Operation
from worker.providers import Provider
from worker.providers.capability import Capability
from worker.providers.options import SEED

class Acme(Provider):
    name, title, prompt_limit, fetch_limit = "acme", "Acme", 100, 1
    # Borrowed, because a vendor's settings are the one thing that does not stand in its folder.
    prefix, key_setting = "kie", "KIE_API_KEY"
    capabilities = {Operation.IMAGINE: Capability({"seed": SEED})}

    def __init__(self, settings):
        self.result_hosts = frozenset()

    translate = submit = parse_callback = fetch = None
""",
        encoding="utf-8",
    )
    monkeypatch.setattr(worker.providers, "__path__", [*worker.providers.__path__, str(tmp_path)])
    monkeypatch.setitem(PROVIDERS, "acme", "worker.providers.acme:Acme")  # type: ignore[arg-type]
    try:
        shown = darkroom("providers", "--json")
    finally:
        for module in [name for name in sys.modules if name.startswith("worker.providers.acme")]:
            del sys.modules[module]
    assert shown.exit_code == 0
    acme = json.loads(shown.stdout.splitlines()[-1])
    assert (acme["name"], acme["configured"], acme["by_operation"]["imagine"].keys()) == ("acme", True, {"seed"})


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_schema_of_an_option_agrees_with_what_it_reads(name: str) -> None:
    for capability in provider_class(name).capabilities.values():
        for option in capability.options.values():
            if "enum" not in option.schema and option.schema["type"] != "integer":
                continue
            limits = [option.schema[limit] for limit in ("minimum", "maximum") if limit in option.schema]
            for value in option.schema.get("enum", limits):
                option.read(value)
            for value in ("none of these", -1, 1 << 40):
                with pytest.raises((KeyError, ValueError)):
                    option.read(value)


def test_the_state_of_each_account_is_told(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_API_KEY", "one:a-first-key,two:a-second-key")
    stories.answered(ledger, AccountBlocked("the balance is used up", code="used_up", status=403))
    found = tables(darkroom)
    (paused,) = found["acedata"]["accounts"]
    assert (paused["account"], paused["status"], paused["rate"]) == ("default", "paused", 0)
    assert "the balance is used up" in paused["reason"]
    assert paused["until"] > paused["since"]
    assert [(one["account"], one["status"], one["until"]) for one in found["kie"]["accounts"]] == [
        ("one", "working", None), ("two", "working", None)
    ]  # fmt: skip
    assert found["ohmygpt"]["accounts"] == []
    assert "acedata: paused until" in " ".join(darkroom("providers").stdout.split())
    assert "paused until" in " ".join(darkroom("providers", "acedata").stdout.split())


def test_without_a_ledger_nobody_knows_how_accounts_are_doing(darkroom: Darkroom) -> None:
    (darkroom.data / "ledger.sqlite3").unlink()
    assert tables(darkroom, "acedata")["acedata"]["accounts"] is None
