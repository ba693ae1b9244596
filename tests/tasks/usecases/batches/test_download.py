"""Results become files under the user's names: verified, complete, and never in the place of another file."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.usecases.audit import GIVE_UP
from tasks.usecases.batches.download import Downloaded, DownloadRequest, Status, download
from tasks.usecases.batches.download.names import DEFAULT_NAME, NameTemplate, folded
from tasks.usecases.batches.new_file import FileExists, new_file
from tests.tasks.usecases.batches.shop import a_shop, go, picture, row, submit, succeed
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError, RequestInvalid
from worker.generation import Asset, Generation, Lineage, Operation
from worker.ledger.generations import BatchResult
from worker.services import Services


def downloaded(here: Services, folder: Path, name: str = DEFAULT_NAME) -> Downloaded:
    return download(here, DownloadRequest(batch="shop", folder=folder, name=name))


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def results_of(here: Services) -> list[BatchResult]:
    return list(here.ledger.generations.results(here.ledger.generations.batch_ids("shop")[0]))


def test_results_get_the_users_names_and_their_bytes(here_with_bucket: Services, tmp_path: Path) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    done = downloaded(here_with_bucket, tmp_path / "out")
    assert files_in(tmp_path / "out") == ["0041_0.png", "0041_1.png", "0041_upscale1_0.png", "0042~1_0.png"]
    assert (tmp_path / "out" / "0041_1.png").read_bytes() == picture("0041 None 1")
    assert (done.counts, done.open) == ({Status.DOWNLOADED: 4}, 2)
    assert done.is_complete


def test_a_template_makes_folders_from_any_field(here_with_bucket: Services, tmp_path: Path) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive, batch="#")
    downloaded(
        here_with_bucket,
        tmp_path / "out",
        "{batch}/{row} {prompt:6}/{root}-{action}{choice}-{column:batch}{index}.{ext}",
    )
    assert files_in(tmp_path / "out") == [
        "shop/1 a/0041-imagine-#0.png",
        "shop/1 a/0041-imagine-#1.png",
        "shop/1 a/0041-upscale1-#0.png",
        "shop/2 a red/0042~1-imaginered-#0.png",
    ]


def test_run_again_it_fetches_only_what_is_missing(here_with_bucket: Services, tmp_path: Path) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    folder = tmp_path / "out"
    downloaded(here_with_bucket, folder)
    (folder / "0041_1.png").unlink()
    untouched = (folder / "0041_0.png").stat().st_mtime_ns
    left_over = folder / ".darkroom-0123456789abcdef.part"
    left_over.touch()
    os.utime(left_over, (time.time() - 7200,) * 2)
    assert downloaded(here_with_bucket, folder).counts == {Status.PRESENT: 3, Status.DOWNLOADED: 1}
    assert (folder / "0041_0.png").stat().st_mtime_ns == untouched
    assert not left_over.exists()


def test_another_file_of_that_name_is_told_and_left(here_with_bucket: Services, tmp_path: Path) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    mine = tmp_path / "0041_0.png"
    mine.write_bytes(picture("0041 None 0")[::-1])
    (tmp_path / "0041_1.png").symlink_to("nowhere")
    done = downloaded(here_with_bucket, tmp_path)
    assert [(one.wanted.name, one.status) for one in done.problems] == [
        ("0041_0.png", Status.LEFT),
        ("0041_1.png", Status.LEFT),
    ]
    assert mine.read_bytes() == picture("0041 None 0")[::-1]
    assert not done.is_complete


def test_an_object_with_other_bytes_leaves_no_file(here_with_bucket: Services, tmp_path: Path) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    first, *_ = results_of(here_with_bucket)
    changed, missing = (str(asset.object_key) for asset in first.assets)
    archive = here_with_bucket.archive
    archive.overwrite(changed, picture("other"), content_type="image/png", metadata={})
    archive.delete(missing)
    done = downloaded(here_with_bucket, tmp_path / "out")
    assert files_in(tmp_path / "out") == ["0041_upscale1_0.png", "0042~1_0.png"]
    (one, other) = done.problems
    assert "has different bytes than were stored" in one.why
    assert "there is no" in other.why


def test_a_transfer_that_breaks_off_is_tried_again(
    here_with_bucket: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    broken: list[str] = []
    read = S3Archive.read

    @contextmanager
    def breaking(self: S3Archive, key: str) -> Iterator[Iterator[bytes]]:
        with read(self, key) as pieces:
            if key in broken:
                yield pieces
            else:
                broken.append(key)
                next(pieces)
                raise ArchiveError("the connection broke")

    monkeypatch.setattr(S3Archive, "read", breaking)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert downloaded(here_with_bucket, tmp_path / "out").counts == {Status.DOWNLOADED: 4}
    assert len(broken) == 4


def test_a_bucket_that_gives_nothing_ends_the_download(
    here_with_bucket: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number, f"k{number}", f"prompt {number}") for number in range(1, GIVE_UP + 5)]
    submit(here_with_bucket.ledger, rows)
    for claim in go(here_with_bucket.ledger).values():
        succeed(here_with_bucket.ledger, None, claim)

    def refused(self: S3Archive, key: str) -> None:
        raise ConfigurationError("access denied")

    monkeypatch.setattr(S3Archive, "read", refused)
    with pytest.raises(ArchiveError, match="stopped after 0 files: access denied"):
        downloaded(here_with_bucket, tmp_path / "out")


def test_two_results_of_one_name_are_refused_with_a_template_that_works(
    here_with_bucket: Services, tmp_path: Path
) -> None:
    a_shop(here_with_bucket.ledger, here_with_bucket.archive)
    with pytest.raises(RequestInvalid, match=r"0041 result 0 and 0041 result 1 would both be named 0041\.png") as error:
        downloaded(here_with_bucket, tmp_path / "out", "{key}.{ext}")
    assert "a template that works is --name '{key}_{index}.{ext}'" in str(error.value)
    with pytest.raises(RequestInvalid, match=r"would both be named imagine\.png") as error:
        downloaded(here_with_bucket, tmp_path / "out", "{action}.{ext}")
    assert "a template that works is --name '{action}_{index}_{id}.{ext}'" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_names_that_differ_only_in_case_are_refused(here_with_bucket: Services, tmp_path: Path) -> None:
    submit(here_with_bucket.ledger, [row(1, "ÄB", "one"), row(2, "äb", "two")])
    for claim in go(here_with_bucket.ledger).values():
        succeed(here_with_bucket.ledger, None, claim)
    with pytest.raises(RequestInvalid, match=r"ÄB result 0 and äb result 0 would both be named äb_0\.png"):
        downloaded(here_with_bucket, tmp_path / "out")


def test_versions_of_a_row_have_names_of_their_own(here: Services) -> None:
    batch_id = submit(here.ledger, [row(1, "a", "one")])
    newer = replace(row(1, "a", "two"), row_version=2, dedupe="a v2", batch_id=batch_id)
    here.ledger.generations.create([newer])
    names = [NameTemplate(DEFAULT_NAME).name(one, an_asset()) for one in results_of(here)]
    assert names == ["a_0.png", "a_v2_0.png"]


def test_all_faults_of_a_template_come_at_once(here: Services, tmp_path: Path) -> None:
    submit(here.ledger, [row(1, "a", "one")])
    with pytest.raises(RequestInvalid) as error:
        downloaded(here, tmp_path, "../{sku}/{prompt:999}/{name}:{index}")
    lines = str(error.value).splitlines()
    assert len(lines) == 7
    assert lines[0] == "--name: {sku} is neither a field nor a column of the batch"
    assert lines[-2].endswith("; your columns: name, as {NAME} or {column:NAME}")
    assert lines[-1] == "for example {batch}/{root}/{action}_{index}.{ext} → shop/0042/upscale1_0.png"


def an_asset() -> Asset:
    facts: dict = dict.fromkeys(Asset.__dataclass_fields__)
    return Asset(**facts | {"index": 0, "object_key": "a/b.png"})


@pytest.fixture(scope="module")
def a_result() -> BatchResult:
    facts: dict = dict.fromkeys(Generation.__dataclass_fields__)
    facts |= {"id": "gen_1", "prompt": "a", "operation": Operation.IMAGINE, "input": {}, "row_version": 1}
    one = Generation(**facts)
    return BatchResult(generation=one, root=one, lineage=Lineage.of_root(one, "shop"), assets=(), cost=None, labels={})


@given(key=st.text(min_size=1), other=st.text(min_size=1))
def test_whatever_a_key_is_its_file_lies_in_the_folder_under_a_name_of_its_own(
    a_result: BatchResult, key: str, other: str
) -> None:
    def name(text: str) -> str:
        generation = replace(a_result.generation, key=text, input={"c": text})
        return NameTemplate("{c}/{key}_{index}.{ext}", ["c"]).name(
            replace(a_result, generation=generation, root=generation), an_asset()
        )

    made = name(key)
    path = PurePosixPath(made)
    assert len(path.parts) == 2
    assert path.as_posix() == made
    for part in path.parts:
        assert part not in {".", ".."}
        assert part.isprintable()
        assert not set('<>:"/\\|?*') & set(part)
        assert part[0] not in ".-~ "
        assert part[-1] not in ". "
        assert len(part.encode()) <= 255
        assert part.partition(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    if folded(key) != folded(other):
        assert name(other) != made


@pytest.mark.parametrize(
    ("key", "part"),
    [("CON", "=43ON"), ("..", "=2E="), ("/etc", "=2Fetc"), ("a/../b", "a~..~b"), ("nul.txt", "=6Eul.txt"), ("", "_")],
)
def test_names_that_some_system_takes_for_something_else_are_escaped(
    a_result: BatchResult, key: str, part: str
) -> None:
    generation = replace(a_result.generation, input={"c": key})
    made = NameTemplate("{c}/{index}.{ext}", ["c"]).name(replace(a_result, root=generation), an_asset())
    assert made.startswith(part)


def test_an_incomplete_file_never_has_its_name_and_a_complete_one_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def write_half() -> None:
        with new_file(path) as file:
            file.write(b"half")
            assert not path.exists()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_half()
    assert files_in(tmp_path) == []
    with pytest.raises(FileExists), new_file(path) as file:
        path.write_bytes(b"somebody else's")
    assert path.read_bytes() == b"somebody else's"
    with new_file(path, replace=True) as file:
        file.write(b"new")
    assert (path.read_bytes(), files_in(tmp_path)) == (b"new", ["a.csv"])
    with pytest.raises(ConfigurationError, match="cannot write"), new_file(tmp_path / "none" / "a.csv"):
        pass
    with pytest.raises(ConfigurationError, match="it is a folder"), new_file(tmp_path, replace=True):
        pass
