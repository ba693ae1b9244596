import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.archive import object_key, sidecar_key

DAY = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)


def key(batch: str | None = None, name: str = "gen_1", prefix: str = "darkroom") -> str:
    return object_key(prefix, DAY, batch, name, 0, "png")


def test_a_key_says_when_which_batch_which_generation_and_which_asset():
    assert object_key("darkroom", DAY, "cats", "gen_1", 3, "webp") == "darkroom/2026/11/21/cats/gen_1/3.webp"


def test_a_generation_without_a_batch_lies_under_single():
    assert key(batch=None) == "darkroom/2026/11/21/single/gen_1/0.png"


@pytest.mark.parametrize("prefix", ["", "/"])
def test_no_prefix_gives_no_leading_slash(prefix: str):
    assert key(prefix=prefix) == "2026/11/21/single/gen_1/0.png"


@pytest.mark.parametrize("prefix", ["a/b", "/a/b/", "a/b/"])
def test_slashes_around_the_prefix_do_not_matter(prefix: str):
    assert key(prefix=prefix).startswith("a/b/2026/")


def test_the_day_is_that_of_utc():
    tokyo = DAY.astimezone(timezone(timedelta(hours=9)))
    assert tokyo.day == 22
    assert object_key("", tokyo, None, "gen_1", 0, "png") == object_key("", DAY, None, "gen_1", 0, "png")


def test_the_sidecar_lies_beside_the_assets():
    assert sidecar_key("darkroom", DAY, "cats", "gen_1") == "darkroom/2026/11/21/cats/gen_1/generation.json"


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
        ("", " ", ".", ".."),
        ("x" * 80, "x" * 81, "x" * 82),
    ],
)
def test_names_that_look_alike_get_different_keys(names: tuple[str, ...]):
    assert len({key(name=name) for name in names}) == len(names)


def test_a_name_cannot_imitate_the_key_of_another_one():
    taken = key(name="Cat").split("/")[-2]
    assert key(name=taken) != key(name="Cat")


def test_a_batch_called_single_is_not_the_folder_of_those_without_a_batch():
    assert key(batch="single") != key(batch=None)


NASTY = st.text() | st.text(alphabet="./\\-~%\0 aA_", max_size=100) | st.characters(categories=["Cs"])


@given(batch=st.none() | NASTY, name=NASTY)
@example(batch="../..", name="../../../etc/passwd")
@example(batch="/", name="")
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
        assert set(segment) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")


@given(one=NASTY, other=NASTY)
def test_different_names_never_share_a_key(one: str, other: str):
    assert (key(name=one) == key(name=other)) == (one == other)
    assert key(batch=one, name=other) == key(batch=one, name=other)


def test_importing_the_archive_does_not_import_boto3():
    code = "import sys, worker.archive; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
