"""No file that a person names, and none of the data folder, shows a traceback, whatever lies in it."""

from pathlib import Path

import pytest

from tasks.cli.ui.context import read_settings
from tests.tasks.cli.conftest import Darkroom
from worker.errors import ConfigurationError
from worker.net import tls
from worker.providers import PROVIDERS
from worker.settings.settings import Settings, load_settings

CONTENTS = {
    "nothing": b"",
    "zeros": b"\x00" * 100,
    "binary": bytes(range(256)),
    "zip": b"PK\x03\x04\x14\x00",
    "UTF-16": "prices: []".encode("utf-16"),
    "open brackets": b"[" * 5_000,
    "deep JSON": b'{"a":' * 20_000,
    "a character that there is not": rb'"\UFFFFFFFF"',
    "a list in itself": b"&a [*a]",
    "a long number": b'{"a": ' + b"9" * 5_000 + b"}",
    "one long line": b"x" * 2_000_000,
}
OF_THE_FOLDER = ("running.json", "secrets.json", "demo.json")
#: what is plain text can be a value, or a prompt
PLAIN = {"a list in itself", "a character that there is not", "open brackets", "deep JSON", "a long number"}


@pytest.fixture(params=[*CONTENTS, "an endless device", "a folder", "no file"])
def odd_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param.replace(" ", "-")
    if request.param == "an endless device":
        return Path("/dev/zero")
    if request.param == "a folder":
        path.mkdir()
    elif request.param in CONTENTS:
        path.write_bytes(CONTENTS[request.param])
    return path


def test_a_file_that_a_setting_names_is_told_in_a_sentence(odd_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every secret may lie in a file, and so every setting; what is no text is refused for each of them."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"{name.upper()}_FILE", str(odd_file))
        try:
            load_settings()
        except ConfigurationError as error:
            assert str(odd_file) in str(error) or name.upper() in str(error)  # noqa: PT017
        else:
            assert odd_file.name.replace("-", " ") in PLAIN
        monkeypatch.delenv(f"{name.upper()}_FILE")


def test_a_price_file_is_told_in_a_sentence(odd_file: Path) -> None:
    settings = Settings(darkroom_prices=odd_file)
    if odd_file.name == "nothing":
        assert settings.read_prices(PROVIDERS) is not None
    else:
        with pytest.raises(ConfigurationError, match=str(odd_file)):
            _ = settings.read_prices(PROVIDERS)


def test_a_file_of_certificates_is_told_in_a_sentence(odd_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(odd_file))
    if not odd_file.is_dir():
        with pytest.raises(ConfigurationError, match=f"REQUESTS_CA_BUNDLE: cannot read certificates from {odd_file}"):
            tls.trusted_authorities()


@pytest.mark.parametrize("name", OF_THE_FOLDER)
def test_a_file_of_the_data_folder_is_told_in_a_sentence(
    odd_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    if odd_file.is_file():
        (tmp_path / name).write_bytes(odd_file.read_bytes())
    elif odd_file.exists():
        (tmp_path / name).symlink_to(odd_file)
    if odd_file.name == "no-file":
        read_settings()
    else:
        with pytest.raises(ConfigurationError, match=str(tmp_path / name)):
            read_settings()


@pytest.mark.parametrize("arguments", [("--file", "{}"), ("a fox", "--option", "images={}")])
def test_a_file_of_the_command_line_is_told_in_a_sentence(
    darkroom: Darkroom, odd_file: Path, arguments: tuple[str, ...]
) -> None:
    result = darkroom("submit", *(one.format(odd_file) for one in arguments))
    is_prompt = arguments[0] == "--file" and odd_file.name.replace("-", " ") in PLAIN
    assert result.exit_code in ({0, 1} if is_prompt else {1, 2})
    assert result.exit_code == 0 or str(odd_file) in "".join(result.stderr.split("\n"))
