"""Whatever the template: one key for each asset, one folder for each generation, and all of them below the prefix."""

from itertools import product
from typing import Any

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from tests.worker.archive.test_keys import ID, NASTY, SEGMENT, generation, of
from worker.archive import Keys
from worker.archive.key_template import DEFAULT_TEMPLATE
from worker.errors import ConfigurationError
from worker.generation import FollowUpStep, Operation
from worker.settings.settings import load_settings

FOLDERS = st.lists(
    st.sampled_from(["{yyyy}", "{batch}", "{provider}-{batch}", "day={dd}", "{batch}{operation}", "x"]), max_size=3
)
TEMPLATES = st.builds(
    lambda before, own, between, after, file: "/".join(["{prefix}", *before, own.replace(" ", between), *after, file]),
    FOLDERS,
    st.sampled_from(
        ["{batch} {key}", "{key} of-{batch}", "{generation}", "of-{key} {batch}", "{batch} {root}/{action}"]
    ),
    FOLDERS.map(lambda folders: "/".join(["", *folders, ""])),
    FOLDERS,
    st.sampled_from(["{index}.{ext}", "{key}{index}.{ext}", "{batch}-{index}-{dd}.{ext}", "{action}{index}.{ext}"]),
)
#: of few letters, so that they meet at their seams
CLOSE = st.text(alphabet="ab-", min_size=1, max_size=3)
NAMES = st.none() | CLOSE | NASTY.filter(bool)


STEPS = st.lists(
    st.builds(FollowUpStep, st.sampled_from(["upscale1", "upscale2", "reroll"]), st.none() | CLOSE), max_size=3
)
PLACES = st.tuples(NAMES, NAMES, st.integers(1, 2), STEPS)


@given(template=TEMPLATES, places=st.tuples(PLACES, PLACES))
@example(template="{prefix}/{batch}/{key}/{index}.{ext}", places=(("a", "b-c", 1, []), ("a-b", "c", 1, [])))
@example(template="{prefix}/{batch}/{key}/{index}.{ext}", places=((None, "gen_b", 1, []), (None, None, 1, [])))
@example(template=DEFAULT_TEMPLATE, places=(("a", "b", 1, [FollowUpStep("upscale1")]), ("a", "b/upscale1", 1, [])))
@example(template=DEFAULT_TEMPLATE, places=(("a", "b", 2, []), ("a", "b=v2", 1, [])))
@example(template=DEFAULT_TEMPLATE, places=(("a", "b/1", 1, []), ("a", "b", 1, [])))
def test_no_generation_has_a_key_of_another_one(template: str, places: tuple[Any, Any]):
    # The ledger gives no key of a batch to two generations, and one follow-up of its kind to a parent.
    assume(places[0] != places[1])
    assume(places[0][1] is not None or places[1][1] is not None or places[0][3] != places[1][3])
    try:
        keys = Keys("home/of", template)
    except ConfigurationError:
        # It could make keys that are too long.
        reject()
    folders, written = set(), []
    for id_, (batch, name, version, steps) in zip(("gen_a", "gen_b"), places, strict=True):
        root = generation(name, id=f"{id_}0", row_version=version)
        made = generation(id=id_, operation=Operation.UPSCALE) if steps else root
        lineage = of(root, batch, steps=tuple(steps))
        folders.add(keys.folder(made, lineage))
        written.append(keys.sidecar(made, lineage))
        written += [keys.asset(made, lineage, index, ext) for index, ext in product((0, 1, 10, 11), ("png", "mp4"))]
    assert len(folders) == 2
    assert len(set(written)) == len(written) == 18
    for key in written:
        assert key.startswith("home/of/")
        for one in key.removeprefix("home/of/").split("/"):
            assert one.strip(".")
            assert set(one) <= SEGMENT
        assert len(key) <= 1024


def test_the_default_is_the_documented_layout():
    assert DEFAULT_TEMPLATE == "{prefix}/{yyyy}/{mm}/{dd}/{batch}/{root}/{action}/{index}.{ext}"
    assert load_settings().s3_key_template == DEFAULT_TEMPLATE


def test_every_field_can_be_used():
    keys = Keys("home", "{prefix}/{provider}/{operation}/d={yyyy}-{mm}-{dd}/{batch}/{generation}/{key}_{index}.{ext}")
    cat = generation("cat")
    assert keys.asset(cat, of(cat), 2, "png") == f"home/kie/imagine/d=2026-11-21/single/{ID}/cat_2.png"
    assert keys.sidecar(cat, of(cat, "Cats!")).startswith("home/kie/imagine/d=2026-11-21/Cats=21/")


def test_the_users_columns_and_the_prompt_sort_what_lies_in_the_bucket():
    keys = Keys("", "{prefix}/{column:client}/{batch}/{key}/{prompt:12}-{column:Size (cm)}-{index}.{ext}")
    cat = generation("cat", prompt="Ein großer, roter Fuchs", input={"client": "ACME & Co", "Size (cm)": 12})
    assert keys.asset(cat, of(cat, "b"), 0, "png") == "ACME=20=26=20Co/b/cat/ein-grosser-12-0.png"
    plain = generation("cat", prompt="猫")
    assert keys.asset(plain, of(plain, "b"), 0, "png") == "none/b/cat/untitled-none-0.png"


def test_in_a_file_name_a_first_generation_says_what_it_does_and_a_follow_up_what_led_to_it():
    keys = Keys("", "{prefix}/{generation}/{root}-{action}-{index}.{ext}")
    root = generation("0042/1")
    assert keys.asset(root, of(root), 0, "png").endswith("/0042-1-imagine-0.png")
    steps = (FollowUpStep("variation2"), FollowUpStep("upscale1"))
    assert keys.asset(generation(), of(root, steps=steps), 0, "png").endswith("/0042-1-variation2-upscale1-0.png")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{yyyy}/{key}/{index}.{ext}", "must start with {prefix}/"),
        ("/{prefix}/{key}/{index}.{ext}", "must start with {prefix}/"),
        ("{prefix}/{key}/{prefix}/{index}.{ext}", "use it only there"),
        ("{prefix}/../{key}/{index}.{ext}", 'empty part, "." or ".."'),
        ("{prefix}/./{key}/{index}.{ext}", 'empty part, "." or ".."'),
        ("{prefix}//{key}/{index}.{ext}", 'empty part, "." or ".."'),
        ("{prefix}/{key}/", 'empty part, "." or ".."'),
        ("{prefix}/a\n/{key}/{index}.{ext}", "may have only letters"),
        ("{prefix}/a\\b/{key}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{key.__class__}/{key}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{name!r}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{name:>9999}/{index}.{ext}", "names name, which is not a field"),
        ("{prefix}/{{key}}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{prompt}/{key}/{index}.{ext}", "needs a number from 1 to 80 for the prompt, such as {prompt:40}"),
        ("{prefix}/{prompt:999}/{key}/{index}.{ext}", "needs a number from 1 to 80 for the prompt"),
        ("{prefix}/{column}/{key}/{index}.{ext}", "needs the name of one of your columns, such as {column:client}"),
        ("{prefix}/{client}/{key}/{index}.{ext}", "names client, which is not a field"),
        ("{prefix}/{key:3}/{index}.{ext}", 'has ":3" after key, which takes no argument'),
        ("{prefix}/{batch}/{root}/of-{action}/{index}.{ext}", "needs {action} alone between slashes"),
        ("{prefix}/{batch}/{root}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{batch}/{action}/{root}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{key}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{key}/{index}/{index}.{ext}", "has index in a folder"),
        ("{prefix}/{batch}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{batch}-{key}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{key}{key}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{yyyy}/{generation}-{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{key}/picture.{ext}", "a file name that contains {index}"),
        ("{prefix}/{key}/{index}{ext}", "ends with .{ext}"),
        ("{prefix}", "must start with {prefix}/"),
        ("", "must start with {prefix}/"),
    ],
)
def test_a_template_that_could_lead_elsewhere_or_to_a_key_that_is_taken_is_refused(template: str, words: str):
    with pytest.raises(ConfigurationError) as refused:
        Keys("home", template)
    assert str(refused.value).startswith("S3_KEY_TEMPLATE: ")
    assert words in str(refused.value)


def test_a_wrong_template_is_refused_when_a_process_starts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_KEY_TEMPLATE", "{prefix}/{batch}/{index}.{ext}")
    with pytest.raises(ConfigurationError, match=r"^S3_KEY_TEMPLATE: .* two generations could get the same key\n"):
        load_settings()


def test_keys_that_s3_would_find_too_long_are_refused():
    with pytest.raises(ConfigurationError, match="produce keys of up to 1,362 bytes, but S3 allows 1,024: shorten"):
        Keys("é" * 500)


def test_a_text_that_looks_like_a_field_is_only_text():
    one = generation("{index}")
    key = Keys("", "{prefix}/{batch}/{key}/{index}.{ext}").asset(one, of(one, "{ext}"), 7, "png")
    assert key == "=7Bext=7D/=7Bindex=7D/7.png"


def test_all_faults_are_told_at_once_with_all_fields_and_an_example():
    with pytest.raises(ConfigurationError) as refused:
        Keys("", "{prefix}/{client}/{prompt}/picture.{ext}")
    told = str(refused.value)
    assert [told.count(words) for words in ("names client", "for the prompt", "same key", "contains {index}")] == [
        1
    ] * 4
    assert "fields: prefix, yyyy, mm, dd, batch, root, action, key" in told
    assert told.endswith("which gives spring/0042/upscale1/0042-0.png")
