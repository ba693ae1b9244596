"""A ZIP of the gallery: whole or visibly broken off, as long as it said, and with names that every system takes."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tasks.usecases import gallery_zip
from tasks.usecases.bulk import Chosen, Pick
from tasks.usecases.gallery import GalleryRequest
from tasks.usecases.gallery_zip import ZipFile, plan_zip, stream_zip
from tests.clock import NOON
from tests.factories import archived, new
from tests.kept import kept
from tests.tasks.cli import stories
from worker.errors import ArchiveError
from worker.services import Services


def test_a_zip_has_all_pictures_and_the_length_that_was_said(here_with_bucket: Services, tmp_path: Path) -> None:
    here = here_with_bucket
    assets = kept(here.ledger, here.archive, 5)
    stories.told(here.ledger, prompts=["ein Füchschen"])
    plan = plan_zip(here, Chosen())
    content = b"".join(stream_zip(here, plan))
    assert len(content) == plan.length
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        assert len(found.namelist()) == 6
        texts = {name: found.read(name) for name in found.namelist()}
    assert "ein Füchschen\n".encode() in texts.values()
    for asset in assets:
        assert f"the pixels of {asset.generation_id}, ".encode() * 20 in texts.values()
    if unzip := shutil.which("unzip"):
        (tmp_path / "found.zip").write_bytes(content)
        assert subprocess.run([unzip, "-t", tmp_path / "found.zip"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("change", ["gone", "other bytes", "shorter"])
def test_a_download_whose_object_is_not_what_was_archived_breaks_off(
    here_with_bucket: Services, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = here_with_bucket
    assets = kept(here.ledger, here.archive, 3)
    plan = plan_zip(here, Chosen())
    key = str(assets[1].object_key)
    size = assets[1].bytes or 0
    if change == "gone":
        here.archive.delete(key)
    else:
        other = b"x" * (size if change == "other bytes" else size - 1)
        here.archive.overwrite(key, other, content_type="image/png", metadata={})
    sent = bytearray()

    def send() -> None:
        for piece in stream_zip(here, plan):
            sent.extend(piece)

    with pytest.raises(ArchiveError, match="cut short"):
        send()
    assert len(sent) < plan.length
    assert key in caplog.text


@pytest.mark.parametrize("size", [0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 1_000_003])
def test_the_length_is_known_for_files_of_any_size(size: int) -> None:
    file = ZipFile(name="ünï.txt", size=size, at=NOON, object_key=None, sha256=None, text=bytes(size))
    plan = gallery_zip.ZipPlan(files=(file, file), left={}, total=2, newest=None)
    content = b"".join(stream_zip(None, plan))  # type: ignore[arg-type]  # it has texts alone
    assert len(content) == plan.length
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert [one.file_size for one in found.infolist()] == [size, size]


def test_names_are_unique_and_no_path(here: Services) -> None:
    ledger = here.ledger
    for key in ("../../etc/passwd", "con", "B-1", "b-1", "a:b*?.", "x" * 300):
        archived(ledger, dedupe=None, key=key)
    for batch in ("one", "two"):
        ledger.generations.create([new(key="B-1", dedupe=None)], batch)
    names = [one.name for one in plan_zip(here, Chosen()).files]
    assert len({name.casefold() for name in names}) == 6
    for name in names:
        assert not set('/\\:*?"<>|') & set(name)
        assert not name.startswith((".", "~"))
        assert len(name.encode()) <= 200


def test_only_the_pictures_that_were_picked_are_in_it(here: Services) -> None:
    (one,) = archived(here.ledger, links=4)
    plan = plan_zip(here, Chosen(picks=(Pick(one, 1), Pick(one, 3), Pick(one, 9)), request=GalleryRequest()))
    assert [file.name.rpartition("_")[2] for file in plan.files] == ["1.png", "3.png"]
