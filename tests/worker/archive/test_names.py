"""The name that a browser saves a picture under, and the tags that a rule of the bucket can ask for."""

from email.message import Message
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.archive import readable_name
from worker.archive.names import disposition, tagging


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A cat, on a mat --ar 16:9", "a-cat-on-a-mat-ar-16-9-3.png"),
        ("  ../../etc/passwd\0 ", "etc-passwd-3.png"),
        ("猫 と 犬", "猫-と-犬-3.png"),
        ("Crème Brûlée", "crème-brûlée-3.png"),
        ("नमस्ते", "नमस्ते-3.png"),
        ("", "picture-3.png"),
        ("🙂", "picture-3.png"),
        ("\ud800", "picture-3.png"),
        ("word " * 40, f"{'word-' * 12}3.png"),
        ("x" * 100, f"{'x' * 60}-3.png"),
    ],
)
def test_a_picture_is_named_after_the_first_words_of_its_prompt(prompt: str, name: str):
    assert readable_name(prompt, 3, "png") == name


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a-cat-0.png", 'inline; filename="a-cat-0.png"'),
        ("crème-0.png", "inline; filename=\"creme-0.png\"; filename*=UTF-8''cr%C3%A8me-0.png"),
        ("猫-0.png", "inline; filename=\"0.png\"; filename*=UTF-8''%E7%8C%AB-0.png"),
        ('a"b\r\nX: y.png', "inline; filename=\"a-b-X-y.png\"; filename*=UTF-8''a%22b%0D%0AX%3A%20y.png"),
    ],
)
def test_a_header_has_a_plain_name_and_the_real_one_if_it_differs(filename: str, header: str):
    assert disposition(filename) == header


@given(prompt=st.text() | st.characters(categories=["Cs"]))
def test_any_prompt_gives_a_name_that_survives_its_header(prompt: str):
    name = readable_name(prompt, 0, "png")
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert not set(name) & set('/\\:*?"<>|\0\n')
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_filename() == name or "filename*" in header


def test_tags_keep_what_s3_allows():
    tags = {"batch": "Cats & dogs, 50%! +-=._:/@", "prompt": "猫", "long": "x" * 300, "none": ""}
    assert parse_qsl(tagging(tags), keep_blank_values=True) == [
        ("batch", "Cats _ dogs_ 50__ +-=._:/@"),
        ("prompt", "猫"),
        ("long", "x" * 256),
        ("none", ""),
    ]
    assert tagging({}) == ""
