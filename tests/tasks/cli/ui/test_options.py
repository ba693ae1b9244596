"""`--option`: pictures add up, and those on this machine become what providers take."""

import base64
from pathlib import Path

import click
import pytest

from tasks.cli.ui.options import read_options
from tests.tasks.cli.conftest import Darkroom
from worker.errors import RequestInvalid

PNG = b"\x89PNG\r\n\x1a\n and so on"
JPEG = b"\xff\xd8\xff\xe0 and so on"
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 and so on"


def read(*given: str) -> dict[str, object]:
    command = click.Command("submit")
    return read_options(click.Context(command), click.Option(["--option"]), given)


def as_link(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def test_links_stay_as_they_are_and_add_up() -> None:
    assert read(
        "images=https://a/1.png", "images=HTTPS://b/2.png https://c/3.png", "mask=data:image/png;base64,aa"
    ) == {
        "images": ["https://a/1.png", "HTTPS://b/2.png", "https://c/3.png"],
        "mask": ["data:image/png;base64,aa"],
    }


@pytest.mark.parametrize(("kind", "content"), [("png", PNG), ("jpeg", JPEG), ("webp", WEBP)])
def test_a_file_becomes_a_data_link_by_what_is_in_it(tmp_path: Path, kind: str, content: bytes) -> None:
    picture = tmp_path / "my cat.gif"
    picture.write_bytes(content)
    assert read(f"images={picture}", "images=https://a/1.png") == {
        "images": [as_link(kind, content), "https://a/1.png"]
    }


def test_a_file_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cat.png").write_bytes(PNG)
    assert read("mask=~/cat.png") == {"mask": [as_link("png", PNG)]}


def test_other_options_are_text_and_stand_alone() -> None:
    assert read("version = 8.1", "hd=true") == {"version": "8.1", "hd": "true"}
    with pytest.raises(click.BadParameter, match="hd is given twice"):
        read("hd=true", "hd=false")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.png", None, "'{path}' cannot be read: No such file or directory; give a link, or a PNG"),
        ("empty.png", b"", "{path} is not a PNG, JPEG or WebP image"),
        ("page.png", b"<html>", "{path} is not a PNG, JPEG or WebP image"),
        ("sound.webp", b"RIFF\x10\x00\x00\x00WAVE", "{path} is not a PNG, JPEG or WebP image"),
        ("large.png", PNG + bytes(10 * 1024 * 1024), "{path} is larger than the 10 MB that providers accept"),
    ],
)
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestInvalid) as caught:
        read(f"omni_image={path}")
    assert str(caught.value).startswith(f"option omni_image: {sentence.format(path=path)}")


def test_a_folder_is_no_picture_either(darkroom: Darkroom, tmp_path: Path) -> None:
    result = darkroom("submit", "a fox", "--option", f"images={tmp_path}")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"darkroom: option images: '{tmp_path}' cannot be read: Is a directory")
