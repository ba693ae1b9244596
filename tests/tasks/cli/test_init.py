"""`darkroom init`: the dialogue on a terminal, the file that it writes, and the template without a terminal."""

import os
import pty
import re
import select
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tasks.usecases.first_settings import env_text
from tests.computer import DARKROOM
from tests.patience import patient
from tests.tasks.cli.conftest import Darkroom
from worker.settings import ENV_FILE_READ, read_env_file
from worker.settings.names import setting_names
from worker.settings.settings import Settings, load_settings

KEY = "a-key-that-nobody-may-see"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self.said = ""
        self._seen = 0
        self._ours, theirs = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", **env}
        # Nothing is asked of the network: all providers are behind a proxy that is not there.
        environment |= {"HTTPS_PROXY": "http://127.0.0.1:1", "KIE_BASE_URL": "http://127.0.0.1:1"}
        self._process = subprocess.Popen(
            [DARKROOM, *arguments],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def answer(self, question: str, answer: str, *, after: str = "") -> None:
        """Once the question is there, and not earlier: what is typed before a hidden prompt is thrown away."""
        self._wait_for(after)
        self._wait_for(question)
        os.write(self._ours, f"{answer}\n".encode())

    def _wait_for(self, words: str) -> None:
        deadline = time.monotonic() + patient(60)
        while words not in self.said[self._seen :]:
            assert self._read(deadline), f"{words!r} did not come after:\n{self.said}"
        self._seen = self.said.index(words, self._seen) + len(words)

    def end(self) -> int:
        deadline = time.monotonic() + patient(60)
        while self._read(deadline):
            pass
        return self._process.wait(patient(30))

    def _read(self, deadline: float) -> bool:
        if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            piece = os.read(self._ours, 4096)
        except OSError:  # the other end is closed
            return False
        self.said += piece.decode().replace("\r\n", "\n")
        return bool(piece)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What is read from a `.env` stays in the environment, which is put back here."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = dict(os.environ)
    yield tmp_path / "work"
    os.environ.clear()
    os.environ.update(before)


def settings_of(folder: Path) -> Settings:
    del os.environ[ENV_FILE_READ]
    settings = load_settings()
    assert os.environ[ENV_FILE_READ] == str(folder / ".env")
    return settings


@pytest.mark.processes
def test_the_answers_are_written_for_the_owner_alone_and_can_be_read_back(folder: Path) -> None:
    with Terminal(folder, "init") as terminal:
        terminal.answer("Provider (acedata, kie, ohmygpt, mjproxy) [acedata]: ", "nobody")
        terminal.answer("Provider (acedata, kie, ohmygpt, mjproxy) [acedata]: ", "kie")
        terminal.answer("Key for Kie.ai (not shown): ", "")
        terminal.answer("Key for Kie.ai (not shown): ", "a b", after="A value is required.")
        terminal.answer("Key for Kie.ai (not shown): ", KEY, after="KIE_API_KEY contains a space")
        terminal.answer("S3 bucket (Enter: an embedded S3 server, files in darkroom-data): ", "photos")
        terminal.answer("Address of the S3 store (Enter: AWS): ", "http://127.0.0.1:1")
        terminal.answer("Access key ID (Enter: this machine's credentials): ", "me")
        terminal.answer("Secret access key (not shown): ", "it's a $ecret #1")
        terminal.answer("Region (Enter: us-east-1): ", "")
        terminal.answer("Public URL of this machine (Enter: none, results are polled): ", "example.com")
        refused = "PUBLIC_URL: 'example.com' is not an http:// or https:// address"
        terminal.answer("Public URL of this machine", "https://d.example.com", after=refused)
        # What doctor says comes before.
        terminal.answer("provider kie", "")
        terminal.answer("Submit one test generation to Kie.ai? It is charged by the provider", "")
        assert terminal.end() == 0
    assert KEY not in terminal.said
    assert "$ecret" not in terminal.said
    assert f"Wrote {folder}/.env" in terminal.said
    assert "Queued" not in terminal.said, "the default is no"
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert {path.name for path in folder.iterdir()} == {".env", "darkroom-data"}, "no temporary file is left"
    settings = settings_of(folder)
    assert settings.kie_api_key is not None
    assert settings.kie_api_key.get_secret_value() == KEY
    assert (settings.s3_bucket, settings.public_url) == ("photos", "https://d.example.com")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "it's a $ecret #1"
    assert settings.darkroom_signing_keys is not None
    assert re.fullmatch(r"k1:[\w-]{43}", settings.darkroom_signing_keys.get_secret_value())


@pytest.mark.processes
def test_the_shortest_dialogue_brings_the_embedded_servers_and_a_test_at_its_price(
    folder: Path, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text('currency: EUR\nprices:\n  - {provider: mjproxy, operation: imagine, price: "0.25"}\n')
    with Terminal(folder, "init", DARKROOM_PRICES=str(prices)) as terminal:
        terminal.answer("Provider", "mjproxy")
        terminal.answer("Address of your midjourney-proxy: ", "http://127.0.0.1:1")
        terminal.answer("Key for midjourney-proxy (not shown, Enter: none): ", "")
        terminal.answer("S3 bucket", "")
        terminal.answer("Public URL", "")
        terminal.answer("It costs 0.25 EUR.", "y")
        assert terminal.end() == 0
    assert read_env_file(folder / ".env") == {"MJPROXY_BASE_URL": "http://127.0.0.1:1"}
    found = re.search(r"Queued (gen_\w+)\.", terminal.said)
    assert found
    shown = subprocess.run(
        [DARKROOM, "show", found[1]], cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, check=False
    )
    assert b"queued" in shown.stdout


@pytest.mark.processes
def test_an_existing_file_is_replaced_only_by_a_person_who_says_so(folder: Path) -> None:
    (folder / ".env").write_text("KIE_RATE=1\n")
    with Terminal(folder, "init") as terminal:
        terminal.answer(".env exists. Replace it? [y/N]: ", "")
        assert terminal.end() == 0
    assert (folder / ".env").read_text() == "KIE_RATE=1\n"
    with Terminal(folder, "init", "--force") as terminal:
        terminal.answer("Provider", "kie")
        terminal.answer("Key for Kie.ai", "\x04")
        assert terminal.end() == 1
    assert (folder / ".env").read_text() == "KIE_RATE=1\n", "the input ended"


def test_without_a_terminal_it_prints_a_template_and_writes_nothing(darkroom: Darkroom) -> None:
    for arguments in (["init"], ["init", "--force"]):
        result = darkroom(*arguments)
        assert result.exit_code == 0
        assert result.stdout == env_text({})
    assert not (darkroom.data / ".env").exists()
    names = re.findall(r"^#([A-Z0-9_]+)=$", result.stdout, flags=re.MULTILINE)
    assert {"KIE_API_KEY", "S3_BUCKET", "PUBLIC_URL", "DARKROOM_SIGNING_KEYS"} <= set(names) <= setting_names()
    explained = re.findall(r"^# .*\n#[A-Z]", result.stdout, flags=re.MULTILINE)
    assert len(explained) >= len(names) - 2, "each setting, or the pair of them, is explained"
