"""Secrets never reach a log."""

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.secrets.redaction import RedactingFormatter, configure_logging, redact, shorten_files, signatures_cut


@pytest.mark.parametrize(
    "line",
    [
        "POST /callbacks/acedata/0123abcd/k1.S3CRET HTTP/1.1",
        "https://d.example/callbacks/acedata/0123abcd/k1.S3CRET?x=1",
        r'{"callback_url":"https:\/\/d.example\/callbacks\/acedata\/0123abcd\/k1.S3CRET"}',
        "callback=https%3A%2F%2Fd.example%2Fcallbacks%2Facedata%2F0123abcd%2Fk1.S3CRET&x=1",
        "https://cdn.discordapp.com/a/1/2/x.png?ex=S3CRET&is=S3CRET&hm=S3CRET&",
        r"https://cdn.discordapp.com/x.png?ex=S3CRET\u0026hm=S3CRET",
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=S3CRET&X-Amz-Signature=S3CRET&x=1",
        "https://storage.googleapis.com/b/k?X-Goog-Signature=S3CRET",
        "https://a.blob.core.windows.net/c/k?sv=2026&se=S3CRET&sig=S3CRET",
        "https://d1.cloudfront.net/k?Expires=1&Signature=S3CRET&Key-Pair-Id=K",
        "https://x.example/?access_token=S3CRET and ?api-key=S3CRET or ?client_secret=S3CRET",
        "{'Authorization': 'Bearer S3CRET'}",
        "authorization: bearer S3CRET",
        "connecting to redis://:S3CRET@redis:6379/0",
        "postgresql+psycopg://darkroom:S3CRET@db/darkroom",
        "postgresql://darkroom:S3CRET@S3CRET@db/darkroom",
        "host=db user=me password=S3CRET dbname=x and password='S3CRET S3CRET'",
        "postgresql://me@db/x?password=S3CRET&sslmode=require",
        "<img src='https://cdn.discordapp.com/x.png?width=1&amp;hm=S3CRET&amp;is=S3CRET'>",
        r"https://cdn.discordapp.com/x.png?width=1\u0026hm=S3CRET",
        "https://proxy.example/?url=https%3A%2F%2Fcdn.discordapp.com%2Fx.png%3Fwidth%3D1%26hm%3DS3CRET",
        "https://proxy.example/?url=https%253A%252F%252Fcdn.discordapp.com%252Fx.png%253Fhm%253DS3CRET",
        "callback=https%253A%252F%252Fd.example%252Fcallbacks%252Facedata%252F0123abcd%252Fk1.S3CRET",
        r'"{\"url\": \"https:\\/\\/d.example\\/callbacks\\/acedata\\/0123abcd\\/k1.S3CRET\"}"',
        "https://x.example/?auth=S3CRET and ?hmac=S3CRET or ?Policy=S3CRET&Key-Pair-Id=K or ?sign=S3CRET",
        "https://x.example/#token=S3CRET",
        "https://x.example/#access_token=S3CRET&x=1",
        "signed with whsec_S3CRETS3CRET+/S3CRET==",
        "auth=S3CRET hmac=S3CRET api-token=S3CRET",
        "the token dk_live_S3CRETS3CRET was used, and 'dk_test_S3CRETS3CRET'",
        r'{"said": "{\"token\": \"dk_live_S3CRETS3CRET\"}"}',
        "/v1/generations/dk_live_S3CRETS3CRET?x=1",
    ],
)
def test_a_secret_is_not_shown(line: str):
    assert "S3CRET" not in redact(line)
    assert "[redacted]" in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "stored pictures/2026/11/21/foxes/0.png (12345 bytes)",
        "https://cdn.example/a.png?width=100&height=200",
        "GET /readyz HTTP/1.1",
        "https://host:8000/path",
        "gen_0123 moved from queued to submitting",
        "at 12:30:15 user@example.com wrote",
        "the token studio (dk_live_Ab3d)",
        "the author=me, keys=7, is=not, basis=3, tokens=12, https://cdn.example/a?author=me&basis=1#design=2",
    ],
)
def test_what_is_no_secret_is_left_alone(line: str):
    assert redact(line) == line


def test_what_surrounds_a_secret_is_still_readable():
    assert redact("GET https://h/x.png?ex=1&is=2&size=3 failed") == (
        "GET https://h/x.png?ex=[redacted]&is=[redacted]&size=3 failed"
    )
    assert redact("redis://user:pw@host:6379/0 is away") == "redis://user:[redacted]@host:6379/0 is away"


def test_a_file_in_a_line_is_told_by_its_kind_and_size():
    assert redact(f"option mask='data:image/png;base64,{'iVBORw0K' * 25_000}==' is sent") == (
        "option mask='data:image/png;base64,… (150 kB)' is sent"
    )


def test_files_are_shortened_wherever_they_are_in_a_value():
    link = "data:image/webp;base64,UklG"
    value = {
        "images": [link, "https://example.com/a.png"],
        "mask": link,
        "seed": 7,
        "prompt": f"{link} {link}, a data: cat",
    }
    short = "data:image/webp;base64,… (1 kB)"
    assert shorten_files(value) == {
        "images": [short, "https://example.com/a.png"],
        "mask": short,
        "seed": 7,
        "prompt": f"{short} {short}, a data: cat",
    }


@given(st.text(alphabet="&?=:/@ \\%callbackstokenex2F.", max_size=300))
def test_any_line_can_be_redacted_and_again(line: str):
    assert redact(redact(line)) == redact(line) or "[redacted]" in redact(line)


def test_a_long_hostile_line_takes_no_long_time():
    for piece in (
        "?a",
        "://a:",
        "/callbacks/a/",
        "&token",
        "Bearer ",
        "%2Fcallbacks",
        "data:",
        "data:;base64,",
        "%25",
        "token",
        "a-",
    ):
        redact(piece * 20_000)


def test_signed_links_lose_what_signs_them_wherever_they_are_in_a_value():
    signed = "https://me:S3CRET@cdn.example/a.png?width=1&hm=S3CRET#x"
    value = {"prompt": f"{signed} a cat like https://cdn.example/b.png?width=1 --ar 3:2", "images": [signed], "seed": 7}
    assert signatures_cut(value) == {
        "prompt": "https://cdn.example/a.png a cat like https://cdn.example/b.png?width=1 --ar 3:2",
        "images": ["https://cdn.example/a.png"],
        "seed": 7,
    }
    assert signatures_cut("https://d.example/callbacks/kie/0123/k1.S3CRET") == (
        "https://d.example/callbacks/kie/0123/[redacted]"
    )


def log_of(secrets: tuple[str, ...]) -> tuple[logging.Logger, io.StringIO]:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(RedactingFormatter(secrets))
    logger = logging.getLogger("test_redaction")
    logger.handlers[:] = [handler]
    logger.propagate = False
    return logger, out


def test_messages_arguments_and_tracebacks_are_redacted():
    logger, out = log_of(("a-very-secret-token", "a-very-secret-token-indeed"))
    try:
        int("https://h/x.png?hm=S3CRET and a-very-secret-token-indeed")
    except ValueError:
        logger.exception("asked with %s", "Bearer S3CRET")
    text = out.getvalue()
    assert "ValueError" in text
    assert "S3CRET" not in text
    assert "a-very" not in text
    assert "indeed" not in text


def test_a_short_setting_is_not_hunted_in_every_line():
    logger, out = log_of(("a", ""))
    logger.warning("a cat")
    assert out.getvalue().endswith("a cat\n")


def test_what_others_write_begins_no_line_and_moves_no_cursor():
    logger, out = log_of(())
    logger.warning("the message of %s", "shop\r\n2026-01-01 00:00:00,000 INFO worker: all is well\x1b[2K\x9b2K")
    (first, *more) = out.getvalue().splitlines()
    assert first.endswith("the message of shop?")
    assert more == ["    2026-01-01 00:00:00,000 INFO worker: all is well?[2K?2K"]


def test_logs_of_libraries_go_the_same_way(capsys: pytest.CaptureFixture[str]):
    configure_logging("INFO", ("a-very-secret-token",))
    configure_logging("INFO", ("a-very-secret-token",))
    logging.getLogger("some.library").warning("a-very-secret-token and ?token=S3CRET")
    logging.getLogger("urllib3").info("each request")
    error = capsys.readouterr().err
    assert error.count("[redacted]") == 2
    assert "S3CRET" not in error
    assert "each request" not in error
    assert len(logging.getLogger().handlers) == 1
