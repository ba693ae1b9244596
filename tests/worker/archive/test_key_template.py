"""Whatever the template: one key for each asset, one folder for each generation, and all of them below the prefix."""

from itertools import product

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.worker.archive.test_keys import ID, NASTY, SEGMENT, generation
from worker.archive import Keys
from worker.archive.keys import DEFAULT_TEMPLATE
from worker.errors import ConfigurationError
from worker.settings.settings import load_settings

FOLDERS = st.lists(
    st.sampled_from(["{yyyy}", "{batch}", "{provider}-{batch}", "day={dd}", "{batch}{operation}", "x"]), max_size=3
)
TEMPLATES = st.builds(
    lambda before, own, after, file: "/".join(["{prefix}", *before, own, *after, file]),
    FOLDERS,
    st.sampled_from(["{key}", "{generation}", "of-{key}"]),
    FOLDERS,
    st.sampled_from(["{index}.{ext}", "{key}{index}.{ext}", "{batch}-{index}-{dd}.{ext}", "{index}{index}.{ext}"]),
)
#: of few letters, so that they meet at their seams
CLOSE = st.text(alphabet="ab-", min_size=1, max_size=3)
NAMES = st.none() | CLOSE | NASTY.filter(bool)


@given(template=TEMPLATES, names=st.tuples(NAMES, NAMES), batches=st.tuples(NAMES, NAMES))
@example(template="{prefix}/{batch}/{key}/{index}.{ext}", names=("b-c", "c"), batches=("a", "a-b"))
@example(template="{prefix}/{key}/{index}.{ext}", names=("gen_b", None), batches=(None, None))
def test_no_generation_has_a_key_of_another_one(
    template: str, names: tuple[str | None, str | None], batches: tuple[str | None, str | None]
):
    # The ledger gives no key to two generations.
    assume(names[0] is None or names[0] != names[1])
    keys = Keys("home/of", template)
    one, other = (generation(name, id=id_) for name, id_ in zip(names, ("gen_a", "gen_b"), strict=True))
    assert keys.folder(one, batches[0]) != keys.folder(other, batches[1])
    written = [
        key
        for made, batch in zip((one, other), batches, strict=True)
        for key in (
            keys.sidecar(made, batch),
            *(keys.asset(made, batch, index, ext) for index, ext in product((0, 1, 10, 11), ("png", "mp4"))),
        )
    ]
    assert len(set(written)) == len(written) == 18
    for key in written:
        assert key.startswith("home/of/")
        segments = key.removeprefix("home/of/").split("/")
        assert len(segments) == template.count("/")
        for segment in segments:
            assert segment.strip(".")
            assert set(segment) <= SEGMENT | {"="}
        assert len(key) <= 1024


def test_the_default_is_the_documented_layout():
    assert DEFAULT_TEMPLATE == "{prefix}/{yyyy}/{mm}/{dd}/{batch}/{key}/{index}.{ext}"
    assert load_settings().s3_key_template == DEFAULT_TEMPLATE


def test_every_field_can_be_used():
    keys = Keys("home", "{prefix}/{provider}/{operation}/d={yyyy}-{mm}-{dd}/{batch}/{generation}/{key}_{index}.{ext}")
    assert keys.asset(generation("cat"), None, 2, "png") == f"home/kie/imagine/d=2026-11-21/single/{ID}/cat_2.png"
    assert keys.sidecar(generation("cat"), "Cats!").startswith("home/kie/imagine/d=2026-11-21/cats-")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{yyyy}/{key}/{index}.{ext}", "must start with {prefix}/"),
        ("/{prefix}/{key}/{index}.{ext}", "must start with {prefix}/"),
        ("{prefix}/{key}/{prefix}/{index}.{ext}", "name it only there"),
        ("{prefix}/../{key}/{index}.{ext}", 'empty part, "." or ".."'),
        ("{prefix}/./{key}/{index}.{ext}", 'empty part, "." or ".."'),
        ("{prefix}//{key}/{index}.{ext}", 'empty part, "." or ".."'),
        ("{prefix}/{key}/", 'empty part, "." or ".."'),
        ("{prefix}/a\n/{key}/{index}.{ext}", "may have only letters"),
        ("{prefix}/a\\b/{key}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{key.__class__}/{key}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{name!r}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{name:>9999}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{{key}}/{index}.{ext}", "may have only letters"),
        ("{prefix}/{prompt}/{key}/{index}.{ext}", "names prompt, but the fields are prefix, yyyy, mm"),
        ("{prefix}/{key}/{index}/{index}.{ext}", "names index in a folder"),
        ("{prefix}/{batch}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{batch}-{key}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{key}{key}/{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{yyyy}/{generation}-{index}.{ext}", "two generations could get the same key"),
        ("{prefix}/{key}/picture.{ext}", "a file name that has {index}"),
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
    with pytest.raises(ConfigurationError, match="make keys of up to 1,184 bytes, but S3 allows 1,024: shorten them"):
        Keys("é" * 500)


def test_a_text_that_looks_like_a_field_is_only_text():
    assert "index" in Keys("", "{prefix}/{batch}/{key}/{index}.{ext}").asset(generation("{index}"), "{ext}", 7, "png")
