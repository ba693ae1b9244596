import re
import string
import subprocess
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.archive import Keys
from worker.archive.key_text import segment
from worker.errors import ConfigurationError
from worker.generation import FollowUpStep, Generation, Lineage, Operation

DAY = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
ID = "gen_019aa6b5c7d0aaaaaaaaaaaaaaaaaaaa"


def generation(key: str | None = None, created_at: datetime = DAY, id: str = ID, **more: Any) -> Generation:  # noqa: A002
    facts = {"id": id, "key": key, "created_at": created_at, "provider": "kie", "operation": Operation.IMAGINE}
    facts |= {"input": {}, "row_version": 1, "prompt": "a fox"} | more
    return Generation(**dict.fromkeys(field.name for field in fields(Generation)) | facts)


def of(one: Generation, batch: str | None = None, **facts: Any) -> Lineage:
    return replace(Lineage.of_root(one, batch), **facts)


def key(batch: str | None = None, name: str | None = None, prefix: str = "darkroom", **facts: Any) -> str:
    one = generation(name, **facts)
    return Keys(prefix).asset(one, of(one, batch), 0, "png")


def follow_up_key(*steps: FollowUpStep, **facts: Any) -> str:
    root, child = generation("0042", id="gen_a"), generation(id="gen_b", operation=Operation.UPSCALE)
    return Keys("").asset(child, of(root, "spring", steps=steps, **facts), 0, "png")


def test_a_key_says_when_which_batch_which_generation_and_which_asset():
    cat = generation("cat")
    assert Keys("darkroom").asset(cat, of(cat, "cats"), 3, "webp") == "darkroom/2026/11/21/cats/cat/3.webp"


def test_only_the_extension_differs_between_formats():
    cat = generation("cat")
    keys = Keys("darkroom", "{prefix}/{batch}/{root}/{action}/{index}.{root}-{action}.{ext}")
    assert keys.stem(cat, of(cat, "cats"), 1) == "darkroom/cats/cat/1.cat-imagine."
    assert keys.asset(cat, of(cat, "cats"), 1, "webp") == "darkroom/cats/cat/1.cat-imagine.webp"


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
    cat = generation("cat")
    assert Keys("darkroom").sidecar(cat, of(cat, "cats")) == "darkroom/2026/11/21/cats/cat/generation.json"


def test_what_was_refused_lies_apart():
    assert Keys("darkroom").rejected(ID, 2) == f"darkroom/rejected/{ID}/2.bin"
    assert Keys().rejected(ID, 2) == f"rejected/{ID}/2.bin"


@pytest.mark.parametrize("name", ["0042", "SKU_12.final-a", "0192f3a1-7b5c-7c3e-9d2f-0123456789ab", "Cat", "a.", "e12"])
def test_a_key_of_letters_digits_dots_underscores_and_hyphens_is_the_name(name: str):
    assert key("Spring.2026", name, prefix="") == f"2026/11/21/Spring.2026/{name}/0.png"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("Crème 1", "Cr=C3=A8me=201"),
        ("a/b", "a=2Fb"),
        ("猫", "=E7=8C=AB"),
        ("a=b", "a=3Db"),
        ("..", "=2E."),
        (".hidden", "=2Ehidden"),
        ("single", "=73ingle"),
        ("gen_0a", "=67en_0a"),
    ],
)
def test_only_other_characters_are_escaped(name: str, escaped: str):
    assert segment(name) == escaped


def test_a_row_that_expands_has_a_folder_for_each_of_its_numbers():
    assert key("spring", "0042/12", prefix="") == "2026/11/21/spring/0042/12/0.png"
    assert key("spring", "0042/012", prefix="") == "2026/11/21/spring/0042=2F012/0.png"


def test_a_new_version_of_a_row_lies_beside_the_first():
    assert key("spring", "0042", prefix="", row_version=2) == "2026/11/21/spring/0042=v2/0.png"


def test_follow_ups_lie_below_their_root_however_much_later_they_were_made():
    assert follow_up_key(FollowUpStep("upscale1")) == "2026/11/21/spring/0042/upscale1/0.png"
    assert (
        follow_up_key(FollowUpStep("variation2"), FollowUpStep("upscale1"))
        == "2026/11/21/spring/0042/variation2/upscale1/0.png"
    )


def test_follow_ups_of_a_root_without_a_key_lie_below_its_id():
    assert follow_up_key(FollowUpStep("upscale1"), root_key=None) == "2026/11/21/spring/gen_a/upscale1/0.png"


def test_what_a_person_submits_beside_the_same_follow_up_of_a_recipe_has_its_key_behind_it():
    assert follow_up_key(FollowUpStep("upscale1", "my 2nd")) == "2026/11/21/spring/0042/upscale1-my=202nd/0.png"


def test_after_very_many_follow_ups_the_id_says_where_it_belongs():
    assert follow_up_key(*[FollowUpStep("zoom_out_1_5x")] * 20) == "2026/11/21/spring/0042/gen_b/0.png"


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cat"),
        ("a/1", "a/01", "a=2F1"),
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
    taken = key(name="C t").split("/")[-2]
    assert key(name=taken) != key(name="C t")


def test_a_name_cannot_imitate_the_id_of_another_generation():
    assert key(name=ID, id="gen_other") != key()


@pytest.mark.parametrize("ours", ["single", "rejected", "manifests"])
def test_a_batch_cannot_imitate_a_folder_of_ours(ours: str):
    assert f"/{ours}/" not in key(batch=ours)


def test_a_test_is_in_a_folder_of_its_own_and_nothing_else_can_be_there():
    assert key(name="0042", is_test=True) == "darkroom/2026/11/21/single=test/0042/0.png"
    assert key("shop (test)", "0042", is_test=True) == "darkroom/2026/11/21/shop=test/0042/0.png"
    assert key("shop", "0042") == "darkroom/2026/11/21/shop/0042/0.png"
    assert key("shop=test", "0042") == "darkroom/2026/11/21/shop=3Dtest/0042/0.png"


NASTY = st.text() | st.text(alphabet="./\\-~%\0 aA_{}", max_size=100) | st.characters(categories=["Cs"])
SEGMENT = {*string.ascii_letters, *string.digits, *"._-="}


@given(batch=st.none() | NASTY, name=NASTY)
@example(batch="../..", name="../../../etc/passwd")
@example(batch="/", name="{prefix}")
@example(batch=".", name="..")
@example(batch="x" * 200, name="É" * 200)
def test_no_text_leads_out_of_the_prefix(batch: str | None, name: str):
    path = key(batch=batch, name=name)
    assert path.startswith("darkroom/2026/11/21/")
    segments = path.split("/")
    assert len(segments) == (8 if re.search(r"/[1-9][0-9]*$", name) and len(segments) == 8 else 7)
    for one in segments:
        assert 1 <= len(one) <= 80
        assert one.strip(".")
        assert set(one) <= SEGMENT


@given(one=NASTY, other=NASTY)
@example(one="=", other="=3D")
@example(one="x" * 90, other="x" * 91)
@example(one="é" * 40, other="é" * 41)
def test_different_texts_never_give_the_same_segment(one: str, other: str):
    assert (segment(one) == segment(other)) == (one == other)


@pytest.mark.processes
def test_importing_the_archive_does_not_import_boto3():
    code = "import sys, worker.settings.settings; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
