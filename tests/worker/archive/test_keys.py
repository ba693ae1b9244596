import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.archive import Keys
from worker.errors import ConfigurationError
from worker.generation import Generation, Operation

DAY = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
ID = "gen_019aa6b5c7d0aaaaaaaaaaaaaaaaaaaa"


def generation(key: str | None = None, created_at: datetime = DAY, id: str = ID) -> Generation:  # noqa: A002
    facts = {"id": id, "key": key, "created_at": created_at, "provider": "kie", "operation": Operation.IMAGINE}
    return Generation(**dict.fromkeys(field.name for field in fields(Generation)) | facts)


def key(batch: str | None = None, name: str | None = None, prefix: str = "darkroom", **facts: object) -> str:
    return Keys(prefix).asset(generation(name, **facts), batch, 0, "png")


def test_a_key_says_when_which_batch_which_generation_and_which_asset():
    assert Keys("darkroom").asset(generation("cat"), "cats", 3, "webp") == "darkroom/2026/11/21/cats/cat/3.webp"


def test_a_generation_without_a_batch_lies_under_single_and_one_without_a_key_under_its_id():
    assert key() == f"darkroom/2026/11/21/single/{ID}/0.png"


@pytest.mark.parametrize("prefix", ["", "/"])
def test_no_prefix_gives_no_leading_slash(prefix: str):
    assert key(prefix=prefix) == f"2026/11/21/single/{ID}/0.png"


@pytest.mark.parametrize("prefix", ["a/b", "/a/b/", "a/b/"])
def test_slashes_around_the_prefix_do_not_matter(prefix: str):
    assert Keys(prefix).prefix == "a/b"
    assert key(prefix=prefix).startswith("a/b/2026/")


@pytest.mark.parametrize("prefix", ["..", "a/../b", "a//b", "./a", "a\nb", "a\0"])
def test_a_prefix_that_leads_elsewhere_is_refused(prefix: str):
    with pytest.raises(ConfigurationError, match="S3_PREFIX"):
        Keys(prefix)


def test_the_day_is_that_of_utc():
    tokyo = DAY.astimezone(timezone(timedelta(hours=9)))
    assert tokyo.day == 22
    assert key(created_at=tokyo) == key(created_at=DAY)


def test_the_sidecar_lies_beside_the_assets():
    assert Keys("darkroom").sidecar(generation("cat"), "cats") == "darkroom/2026/11/21/cats/cat/generation.json"


def test_what_was_refused_lies_apart():
    assert Keys("darkroom").rejected(ID, 2) == f"darkroom/rejected/{ID}/2.bin"
    assert Keys().rejected(ID, 2) == f"rejected/{ID}/2.bin"


def test_harmless_text_stays_as_it_is():
    assert "/cat-2.final_a/" in key(name="cat-2.final_a")
    assert "/0192f3a1-7b5c-7c3e-9d2f-0123456789ab/" in key(name="0192f3a1-7b5c-7c3e-9d2f-0123456789ab")


def test_other_text_stays_readable():
    assert "/creme-brulee-" in key(name="Crème Brûlée!")
    assert "/unnamed-" in key(name="猫")


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cat"),
        ("a/b", "a-b", "a b"),
        ("é", "e"),
        ("猫", "犬"),
        (" ", ".", ".."),
        ("x" * 80, "x" * 81, "x" * 82),
    ],
)
def test_names_that_look_alike_get_different_keys(names: tuple[str, ...]):
    assert len({key(name=name) for name in names}) == len(names)


def test_a_name_cannot_imitate_the_key_of_another_one():
    taken = key(name="Cat").split("/")[-2]
    assert key(name=taken) != key(name="Cat")


def test_a_name_cannot_imitate_the_id_of_another_generation():
    assert key(name=ID, id="gen_other") != key()


@pytest.mark.parametrize("ours", ["single", "rejected", "manifests"])
def test_a_batch_cannot_imitate_a_folder_of_ours(ours: str):
    assert f"/{ours}/" not in key(batch=ours)


NASTY = st.text() | st.text(alphabet="./\\-~%\0 aA_{}", max_size=100) | st.characters(categories=["Cs"])
SEGMENT = set("abcdefghijklmnopqrstuvwxyz0123456789._-")


@given(batch=st.none() | NASTY, name=NASTY)
@example(batch="../..", name="../../../etc/passwd")
@example(batch="/", name="{prefix}")
@example(batch=".", name="..")
@example(batch="x" * 200, name="É" * 200)
def test_no_text_leads_out_of_the_prefix(batch: str | None, name: str):
    path = key(batch=batch, name=name)
    assert path.startswith("darkroom/2026/11/21/")
    segments = path.split("/")
    assert len(segments) == 7
    for segment in segments:
        assert 1 <= len(segment) <= 80
        assert segment.strip(".")
        assert set(segment) <= SEGMENT


@pytest.mark.processes
def test_importing_the_archive_does_not_import_boto3():
    code = "import sys, worker.settings.settings; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
