"""What can be written for an option, as text or as JSON, and what becomes of it."""

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.providers.operations import FILE, LINK
from worker.providers.options import (
    ASPECT_RATIO,
    CHAOS,
    FLAG,
    MOTION,
    OMNI_WEIGHT,
    SECONDS,
    SEED,
    SPEED,
    STYLIZE,
    VERSION,
    VIDEO_SIZE,
    WEIRD,
    Option,
    level,
    listed,
    one_of,
    picture,
    pictures,
    whole,
)

QUALITY = level(".25", ".5", "1", "2", "4")
STEPS = whole(10, 30, step=5)
OPTIONS = (
    *(ASPECT_RATIO, CHAOS, FLAG, MOTION, OMNI_WEIGHT, SECONDS, SEED, SPEED, STYLIZE, VERSION, VIDEO_SIZE, WEIRD),
    *(QUALITY, STEPS, picture(), picture(files=True), pictures(2, 3), pictures(1, 5, links=False, files=True)),
    *(SPEED.as_field("mode", {"relax": 1, "fast": 2}), one_of("a").as_flag("--a"), pictures(1, 2).as_lead()),
)
#: all that an option may raise for a value that it does not take
REFUSED = (KeyError, TypeError, ValueError, OverflowError)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        (LINK, FILE, "\ud800", "a\x00b", "http://[", "data:image/png;base64,", 10**4000, "9" * 5000, "1e999")
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("option", "given", "expected"),
    [
        (FLAG, "true", True),
        (FLAG, "False", False),
        (FLAG, True, True),
        (SECONDS, "480", 480),
        (SECONDS, "0.5", 0.5),
        (SECONDS, 60, 60),
        (ASPECT_RATIO, " 16:9 ", "16:9"),
        (ASPECT_RATIO, "1000:9999", "1000:9999"),
        (SPEED, "relax", "relax"),
        (STYLIZE, "0", 0),
        (STYLIZE, 1000, 1000),
        (SEED, "4294967295", 4294967295),
        (STEPS, "25", 25),
        (QUALITY, "0.25", ".25"),
        (QUALITY, 0.5, ".5"),
        (QUALITY, "1.0", "1"),
        (QUALITY, 4, "4"),
        (VERSION, 6.1, "6.1"),
        (VERSION, 7, "7"),
        (VERSION, " niji 9 ", "niji9"),
        (VERSION, "v8.1", "8.1"),
        (VERSION, 8.0, "8"),
        (SPEED.as_field("speed", {"relax": "relaxed"}), "relax", "relaxed"),
    ],
)
def test_text_and_values_mean_the_same(option, given, expected):
    value = option.read(given)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        (FLAG, ["yes", 1, 0, None, "", [], {}]),
        (SECONDS, ["soon", "0", "-1", "nan", "inf", 10**400, True, None, [60]]),
        (ASPECT_RATIO, ["16x9", "16:", "0:9", "16:09", "16:9:1", "-16:9", "16/9", "12345:1", 16, 1.5, None]),
        (SPEED, ["warp", "Fast", "", ["fast"], {"fast": 1}, 1, None]),
        (STYLIZE, ["-1", "1001", 10**5000, "1e2", 1.5, True, "many", None, [5]]),
        (STEPS, [9, 31, 12, "12"]),
        (QUALITY, ["3", "high", True, "nan", None]),
        (VERSION, ["", " ", True, None, [7], {"a": 1}, "7\n--x", "7\x00", "\ud800"]),
        (SPEED.as_field("speed", {"relax": "relaxed"}), ["fast"]),
    ],
)
def test_what_is_not_possible_is_refused(option, values):
    for value in values:
        with pytest.raises(REFUSED):
            option.read(value)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_list_of_thousands_of_levels_is_refused_too(option):
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]

    with pytest.raises(REFUSED):
        option.read(deep)


# --- pictures


@pytest.mark.parametrize(
    "link", [LINK, "http://a.test", "HTTPS://A.test/ä?x=1&y=%20#z", "https://user@a.test:8443/a,b.png"]
)
def test_a_link_to_a_picture_is_not_changed(link):
    assert picture().read(link) == link
    assert pictures(1, 2).read([link]) == [link]


@pytest.mark.parametrize(
    "link", ["", "cat.png", "ftp://a.test/x", "https://", "https:///x", "http://[", "https://a.test/\n", "https://a.te\ud800",
             "https://a.test/x --v 5", "javascript:alert(1)", "file:///etc/passwd", None, 5, {"url": LINK}, [[LINK]]]
)  # fmt: skip
def test_what_is_no_link_is_refused(link):
    with pytest.raises(REFUSED):
        pictures(1, 2).read([link])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_file_comes_as_a_data_link(kind):
    link = f"data:image/{kind};base64,{base64.b64encode(b'...').decode()}"

    assert picture(links=False, files=True).read(link) == link


@pytest.mark.parametrize(
    "file",
    [
        "data:image/png;base64,",
        "data:image/png,abc",
        "data:image/svg+xml;base64,AAAA",
        "data:text/html;base64,AAAA",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AA\nAA",
        "data:image/png;base64,ä",
        "AAAA",
        LINK,
    ],
)
def test_what_is_no_file_is_refused(file):
    with pytest.raises(REFUSED):
        pictures(1, 2, links=False, files=True).read([file])


def test_several_pictures_are_a_list_or_words():
    assert pictures(1, 3).read([LINK, LINK]) == [LINK, LINK]
    assert pictures(1, 3).read(f" {LINK} \n{LINK} ") == [LINK, LINK]
    assert pictures(1, 3, files=True).read(f"{LINK} {FILE}") == [LINK, FILE]
    assert pictures(1, 1).read(LINK) == [LINK]


def test_one_picture_may_stand_in_a_list():
    assert picture().read([LINK]) == LINK


@pytest.mark.parametrize("count", [0, 1, 4])
def test_pictures_are_counted(count):
    with pytest.raises(REFUSED):
        pictures(2, 3).read([LINK] * count)


def test_a_json_object_is_no_list():
    with pytest.raises(REFUSED):
        pictures(1, 2).read({LINK: 1})


def test_a_file_is_no_link_and_a_link_no_file():
    with pytest.raises(REFUSED):
        picture().read(FILE)
    with pytest.raises(REFUSED):
        picture(links=False, files=True).read(LINK)


# --- words


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (picture(), "one link to an image"),
        (picture(links=False, files=True), "one image file"),
        (picture(files=True), "one image as a link or a file"),
        (pictures(1, 1), "one link to an image"),
        (pictures(2, 5), "2 to 5 links to images"),
        (pictures(3, 3, links=False, files=True), "3 image files"),
        (pictures(1, 5, files=True), "1 to 5 images as links or files"),
        (whole(0, 100), "an integer from 0 to 100"),
        (STEPS, "an integer from 10 to 30 in steps of 5"),
        (SPEED, "relax, fast or turbo"),
        (one_of("low"), "low"),
        (QUALITY, ".25, .5, 1, 2 or 4"),
        (SPEED.as_field("mode"), "relax, fast or turbo"),
        (FLAG.as_field("hd"), "true or false"),
    ],
)
def test_what_is_possible_is_said_in_words(option, words):
    assert option.allowed == words


def test_words_are_listed():
    assert listed(("a",)) == "a"
    assert listed(("a", "b", "c")) == "a, b or c"


# --- where it goes


def test_an_option_says_where_it_goes():
    def places(option: Option) -> tuple[Any, ...]:
        return option.field, option.flag, option.leads

    assert places(SPEED) == (None, None, False)
    assert places(SPEED.as_field("mode")) == ("mode", None, False)
    assert places(SPEED.as_flag("--speed")) == (None, "--speed", False)
    assert places(pictures(1, 5).as_lead()) == (None, None, True)


# --- anything


@given(option=st.sampled_from(OPTIONS), value=JSON)
def test_no_json_value_does_more_than_be_refused(option, value):
    with contextlib.suppress(REFUSED):
        option.read(value)
