"""`darkroom up` and a test: nothing is set up, nothing is paid, and the sandbox runs only for whoever needs it."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.computer import Computer, family_of
from webhook import sandbox
from webhook.sandbox import Sandbox

pytestmark = [pytest.mark.system, pytest.mark.processes]


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    home = tmp_path / "home"
    home.mkdir()
    return Computer(home)


@pytest.fixture
def provider() -> Iterator[Sandbox]:
    """The provider that is paid."""
    with sandbox.running(delay=0.2, size=64) as running:
        yield running


def sandboxes(pid: int) -> list[psutil.Process]:
    return [one for one in family_of(pid) if "webhook.sandbox" in one.cmdline()]


def test_a_test_is_archived_and_the_provider_is_not_asked(computer: Computer, provider: Sandbox) -> None:
    # Links of a provider on this machine are not allowed; links of the sandbox are.
    del computer.env["DARKROOM_DOWNLOAD_ALLOW"]
    computer.env["ACEDATACLOUD_BASE_URL"] = provider.url
    with computer.up() as said:
        assert sandboxes(said["pid"]) == []
        done = computer.darkroom("submit", "--test", "a lighthouse", "--follow-up", "upscale1", "--watch", seconds=90)
        assert done.returncode == 0, done.stderr
        child, parent = computer.json("list")
        assert [(one["state"], one["test"]) for one in (child, parent)] == [("archived", True)] * 2
        assert len(sandboxes(said["pid"])) == 1
        (spent,) = computer.json("spend")
    assert provider.bill()["charges"] == 0
    assert provider.log() == []
    assert not spent.get("groups")
    pictures = list((computer.data / "s3" / "darkroom").rglob("0.png"))
    assert len(pictures) == 2
    # It is started again for what is left of tests, and not for what is over.
    with computer.up() as said:
        for _ in range(3):
            assert [one["state"] for one in computer.json("list")] == ["archived"] * 2
        assert sandboxes(said["pid"]) == []
    refused = computer.darkroom("submit", "--test", "a windmill")
    assert refused.returncode == 1
    assert "start `darkroom up`, which includes it" in refused.stderr
