"""What becomes of a submission when the network or the provider fails: the table that decides over double payment."""

import gc
import socket
import ssl
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from tests.patience import patient
from tests.worker.providers.loopback import (
    Loopback,
    drip,
    drip_header,
    hang_up,
    kept_open,
    refused_port,
    reply,
    reset,
    reset_unread,
    says,
    silence,
)
from worker.errors import (
    AccountBlocked,
    ConfigurationError,
    NotTaken,
    ProviderError,
    QueryFailed,
    Rejected,
    Uncertain,
)
from worker.providers import http
from worker.providers.http import ApiClient, Refusal, read_key

TOKEN = "t0psecret"
PAYLOAD = {"prompt": "a cat"}


def read_refusal(data):
    return Refusal(data["code"], data.get("text")) if isinstance(data, dict) and "code" in data else None


def client(url: str, **ways) -> ApiClient:
    return ApiClient(
        "The vendor",
        url,
        credentials={"Authorization": f"Bearer {TOKEN}"},
        codes={"empty": AccountBlocked, "busy": NotTaken, "wrong": Rejected},
        read_refusal=read_refusal,
        **ways,
    )


def submit(url: str) -> ProviderError:
    """Submit and return the error that must come."""
    with pytest.raises(ProviderError) as caught:
        client(url).post_once("/submit", PAYLOAD)
    return caught.value


# --- nothing was sent: free to try again ------------------------------------------------------------------------------


def test_a_refused_connection_means_not_taken():
    error = submit(f"http://127.0.0.1:{refused_port()}")

    assert (type(error), error.code) == (NotTaken, "connection_refused")


def test_a_name_that_cannot_be_resolved_means_not_taken(monkeypatch):
    def unresolved(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)

    error = submit("http://vendor.test")

    assert (type(error), error.code) == (NotTaken, "name_not_resolved")


def test_a_connection_that_is_never_answered_means_not_taken(monkeypatch):
    def unanswered(*args, **kwargs):
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", unanswered)

    error = submit("http://vendor.test")

    assert (type(error), error.code) == (NotTaken, "connect_timeout")


def test_a_failed_tls_handshake_means_not_taken():
    def speaks_no_tls(server, connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Loopback(speaks_no_tls) as server:
        error = submit(server.url.replace("http:", "https:"))

    assert (type(error), error.code) == (NotTaken, "tls_failed")


def test_a_reset_in_the_tls_handshake_means_not_taken():
    with Loopback(reset_unread) as server:
        error = submit(server.url.replace("http:", "https:"))

    assert type(error) is NotTaken


def test_a_tls_handshake_that_never_ends_means_not_taken(monkeypatch):
    monkeypatch.setattr(http, "CONNECT_TIMEOUT", 0.3)

    def says_nothing(server, connection):
        server.stopping.wait(5)

    with Loopback(says_nothing) as server:
        error = submit(server.url.replace("http:", "https:"))

    assert (type(error), error.code) == (NotTaken, "connect_timeout")


# --- it may have been taken: never again by the program ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        pytest.param(hang_up, "connection_lost", id="closed after the request"),
        pytest.param(reset, "connection_lost", id="reset after the request"),
        pytest.param(reset_unread, "connection_lost", id="reset before the request was read"),
        pytest.param(reply(200, {"id": 1}, length=500), "connection_lost", id="half a reply"),
        pytest.param(reply(200, b'{"id": '), "unreadable_reply", id="half a JSON"),
        pytest.param(reply(200, b"<html>ok</html>"), "unreadable_reply", id="HTML"),
        pytest.param(reply(204, b""), "empty_reply", id="empty"),
        pytest.param(reply(200, b"[" * 100_000), "unreadable_reply", id="depth 100,000"),
        pytest.param(reply(200, b"{}" + b" " * http.BODY_LIMIT), "unreadable_reply", id="too large"),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.2\r\n"), "unreadable_reply", id="another protocol"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"), "connection_lost", id="bad chunks"
        ),
        pytest.param(reply(302, {}, {"Location": "/elsewhere"}), "http_302", id="redirect"),
        *(pytest.param(reply(status, {}), f"http_{status}", id=str(status)) for status in (408, 409, 500, 502, 504)),
        pytest.param(reply(500, {"code": "busy"}), "busy", id="500 with a code"),
        pytest.param(reply(200, {"code": "never seen"}), "never seen", id="200 with an unknown code"),
    ],
)
def test_a_submission_without_a_clear_answer_is_uncertain_and_sent_once(behaviour, code):
    with Loopback(behaviour) as server:
        error = submit(server.url)

    assert (type(error), error.code) == (Uncertain, code)
    assert server.connections == 1
    assert len(server.requests) <= 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reply_with_impossible_headers_is_uncertain():
    with Loopback(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}")) as server:
        error = submit(server.url)

    assert type(error) is Uncertain
    del error
    # urllib3 leaves this one socket to the garbage collector, which warns: here, and not in a later test.
    gc.collect()


def test_a_submission_that_is_never_answered_is_uncertain_and_sent_once(monkeypatch):
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.2)
    with Loopback(silence) as server:
        error = submit(server.url)

    assert (type(error), error.code) == (Uncertain, "read_timeout")
    assert len(server.requests) == 1


def test_who_works_before_it_answers_is_waited_for_longer(monkeypatch):
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.1)

    def answers_late(server, connection):
        server.read_request(connection)
        server.stopping.wait(0.3)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"id":1}')

    with Loopback(answers_late) as server:
        assert client(server.url).post_once("/submit", PAYLOAD, patience=patient(5)) == {"id": 1}
        assert submit(server.url).code == "read_timeout"


def test_a_reply_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(http, "BODY_TIMEOUT", 0.2)
    with Loopback(drip) as server:
        error = submit(server.url)

    assert (type(error), error.code) == (Uncertain, "unreadable_reply")


def test_a_reply_whose_header_drips_is_given_up_after_one_wait(monkeypatch):
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
    with Loopback(drip_header) as server:
        error = submit(server.url)
        with pytest.raises(QueryFailed) as question:
            client(server.url).get("/task")

    assert (type(error), error.code) == (Uncertain, "read_timeout")
    assert question.value.code == "read_timeout"
    assert len(server.requests) == 2


def test_a_body_that_follows_a_late_header_has_its_own_time(monkeypatch):
    monkeypatch.setattr(http, "READ_TIMEOUT", 1)

    def answers_late(server, connection):
        server.read_request(connection)
        server.stopping.wait(0.7)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        server.stopping.wait(0.7)
        connection.sendall(b'{"id":1}')

    with Loopback(answers_late) as server:
        assert client(server.url).post_once("/submit", PAYLOAD) == {"id": 1}


def test_a_tls_failure_after_the_request_was_sent_is_uncertain(monkeypatch, tmp_path):
    """`requests` calls it SSLError, as it calls a failed handshake."""

    def breaks_the_encryption(server, connection):
        server.read_request(connection)
        raw = socket.socket(fileno=connection.detach())
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        raw.close()

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    with Loopback(breaks_the_encryption, tls=tls_server(tmp_path)) as server:
        error = submit(server.url)

    assert isinstance(error.__cause__, requests.exceptions.SSLError)
    assert (type(error), error.code) == (Uncertain, "connection_lost")
    assert len(server.requests) == 1


# --- a clear answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "wrong", Rejected),
        (400, "empty", AccountBlocked),
        (403, "anything", Rejected),
        (403, "empty", AccountBlocked),
        (403, "busy", NotTaken),
        (404, "anything", Rejected),
        (413, "anything", Rejected),
        (422, "anything", Rejected),
        (401, "wrong", AccountBlocked),
        (402, "anything", AccountBlocked),
        (429, "wrong", NotTaken),
        (429, "empty", AccountBlocked),
        (503, "anything", NotTaken),
        (200, "wrong", Rejected),
        (200, "busy", NotTaken),
        (200, "empty", AccountBlocked),
    ],
)
def test_the_status_decides_and_the_code_refines(status, code, expected):
    with Loopback(reply(status, {"code": code, "text": "Because."})) as server:
        error = submit(server.url)

    assert (type(error), error.code, error.status) == (expected, code, status)
    assert "Because." in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "wrong", Rejected),
        (401, "wrong", Rejected),
        (500, "busy", NotTaken),
        (500, "never seen", Uncertain),
        (401, "never seen", AccountBlocked),
        (200, "empty", AccountBlocked),
    ],
)
def test_where_the_body_speaks_first_a_known_code_decides(status, code, expected):
    with Loopback(reply(status, {"code": code})) as server, pytest.raises(ProviderError) as caught:
        client(server.url, code_decides=True).post_once("/submit", PAYLOAD)

    assert type(caught.value) is expected


def test_a_refusal_counts_even_if_its_body_cannot_be_read():
    with Loopback(reply(429, b"<html>", {"Retry-After": "7"}, length=500)) as server:
        error = submit(server.url)

    assert isinstance(error, NotTaken)
    assert (error.code, error.retry_after) == ("http_429", timedelta(seconds=7))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999", 3600),
        ("9" * 400, None),
        ("-5", None),
        ("soon", None),
        ("Wed, 99 Foo 2026 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_read_and_limited(header, seconds):
    with Loopback(reply(429, {}, {"Retry-After": header})) as server:
        error = submit(server.url)

    assert isinstance(error, NotTaken)
    assert error.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_retry_after_may_be_a_date():
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    with Loopback(reply(429, {}, {"Retry-After": in_a_minute})) as server:
        error = submit(server.url)

    assert isinstance(error, NotTaken)
    assert error.retry_after
    assert timedelta(seconds=50) < error.retry_after <= timedelta(seconds=60)


def test_retry_after_a_date_is_counted_by_the_clock_of_who_says_it():
    """A machine whose own clock is ten minutes ahead would not wait at all."""
    theirs = datetime.now(UTC) - timedelta(minutes=10)
    dates = {"Date": theirs, "Retry-After": theirs + timedelta(seconds=60)}
    headers = {name: format_datetime(moment, usegmt=True) for name, moment in dates.items()}
    with Loopback(reply(429, {}, headers)) as server:
        error = submit(server.url)

    assert isinstance(error, NotTaken)
    assert error.retry_after == timedelta(seconds=60)


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_connection_that_the_provider_kept_open_is_not_used_again():
    with Loopback(kept_open({"id": 1}), reply(200, {"id": 2})) as server:
        api = client(server.url)

        assert api.post_once("/submit", PAYLOAD) == {"id": 1}
        assert api.post_once("/submit", PAYLOAD) == {"id": 2}

    assert server.connections == 2


def test_a_connection_that_the_provider_kept_open_is_closed_with_its_reply():
    with Loopback(kept_open({"id": 1})) as server:
        api = client(server.url)

        assert api.post_once("/submit", PAYLOAD) == {"id": 1}
        assert server.was_left.wait(patient(10))


def test_sixteen_threads_share_one_client():
    with Loopback(reply(200, {"id": 1})) as server:
        api = client(server.url)
        with ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda _: api.post_once("/submit", PAYLOAD), range(64)))

    assert replies == [{"id": 1}] * 64
    assert len(server.requests) == 64


def test_cookies_and_passwords_of_the_environment_stay_out(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Loopback(reply(200, {}, {"Set-Cookie": "session=1"})) as server:
        api = client(server.url)
        api.post_once("/submit", PAYLOAD)
        api.post_once("/submit", PAYLOAD)

    head = server.requests[1].partition(b"\r\n\r\n")[0].lower()
    assert b"authorization: bearer t0psecret" in head
    assert b"cookie" not in head


def test_a_private_certificate_authority_is_taken_from_the_environment(monkeypatch, tmp_path):
    with Loopback(reply(200, {"id": 1}), tls=tls_server(tmp_path)) as server:
        assert submit(server.url).code == "tls_failed"

        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        assert client(server.url).post_once("/submit", PAYLOAD) == {"id": 1}


def test_a_missing_certificate_bundle_is_a_configuration_error(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    with pytest.raises(ConfigurationError, match=r"REQUESTS_CA_BUNDLE.*/nowhere/ca\.pem"):
        client("https://vendor.test")


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (reset, "connection_lost"),
        (reply(200, b"<html>"), "unreadable_reply"),
        (reply(401, {"code": "empty"}), "empty"),
        (reply(429, {}), "http_429"),
        (reply(500, {}), "http_500"),
        (reply(200, {"code": "wrong"}), "wrong"),
    ],
)
def test_a_question_without_a_usable_answer_is_a_failed_query(behaviour, code):
    with Loopback(behaviour) as server, pytest.raises(QueryFailed) as caught:
        client(server.url).query("/ask", {})

    assert caught.value.code == code
    assert "may have taken" not in str(caught.value)


def test_a_question_to_nobody_is_a_failed_query():
    nobody = client(f"http://127.0.0.1:{refused_port()}")

    with pytest.raises(QueryFailed, match="connection_refused"):
        nobody.query("/ask", {})
    with pytest.raises(QueryFailed, match="connection_refused"):
        nobody.get("/ask")


def test_a_question_by_get_has_no_body_and_encodes_its_parameters():
    with Loopback(reply(200, {"id": 1})) as server:
        assert client(server.url).get("/ask", id="a/b&c", word="ä") == {"id": 1}

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"GET /ask?id=a%2Fb%26c&word=%C3%A4 HTTP/1.1\r\n")
    assert b"authorization: Bearer t0psecret" in head.replace(b"Authorization", b"authorization")
    assert b"content-type" not in head.lower()
    assert body == b""


def test_an_empty_answer_has_a_code_of_its_own():
    with Loopback(reply(200, b"")) as server, pytest.raises(QueryFailed) as caught:
        client(server.url).get("/ask")

    assert caught.value.code == "empty_reply"


def test_bodies_are_json_or_a_form():
    with Loopback(reply(200, {})) as server:
        client(server.url).post_once("/submit", {"prompt": "ä & b", "count": 2, "images": ["x", "y"]})
        client(server.url, form=True).post_once("/submit", {"prompt": "ä & b", "count": 2, "images": ["x", "y"]})

    (json_head, json_body), (form_head, form_body) = (request.split(b"\r\n\r\n", 1) for request in server.requests)
    assert b"content-type: application/json" in json_head.lower()
    assert json_body == b'{"prompt": "\\u00e4 & b", "count": 2, "images": ["x", "y"]}'
    assert b"content-type: application/x-www-form-urlencoded" in form_head.lower()
    assert form_body == b"prompt=%C3%A4+%26+b&count=2&images=x&images=y"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_an_error_hides_our_token_and_every_link_that_the_provider_quotes():
    callback_url = "https://studio.test/callbacks/vendor/a1/k1.Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMTI"
    quoted = f"bad {callback_url} or /callbacks/vendor/a1/k1.Zm9 by Bearer {TOKEN} {'x' * 5000}\x00\ud800"
    with Loopback(reply(400, {"code": f"wrong {TOKEN}", "text": quoted})) as server:
        error = submit(server.url)

    shown = "".join(traceback.format_exception(error))
    assert TOKEN not in shown
    assert "Zm9" not in shown
    assert len(str(error)) < 600
    assert str(error).isprintable()


@pytest.mark.parametrize("behaviour", [hang_up, reset, says(b"SSH-2.0\r\n")])
def test_a_transport_error_shows_no_token(behaviour):
    with Loopback(behaviour) as server:
        error = submit(server.url)

    assert TOKEN not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("  ")])
def test_a_key_that_is_not_set_is_named(secret):
    with pytest.raises(ConfigurationError, match="VENDOR_KEY is not set"):
        read_key("The vendor", "VENDOR_KEY", secret)


@pytest.mark.parametrize("broken", ["two words", "line\nbreak", "snowman\N{SNOWMAN}"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(broken):
    with pytest.raises(ConfigurationError, match="VENDOR_KEY contains") as caught:
        read_key("The vendor", "VENDOR_KEY", SecretStr(broken))

    assert broken not in str(caught.value)


def test_a_key_loses_the_blanks_around_it():
    assert read_key("The vendor", "VENDOR_KEY", SecretStr(" key\n")) == "key"


# --- helpers ----------------------------------------------------------------------------------------------------------


def tls_server(folder: Path, *names: str) -> ssl.SSLContext:
    """A server context for 127.0.0.1 and these names; its certificate is left in `folder/cert.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vendor")])
    now = datetime.now(UTC)
    address = x509.IPAddress(IPv4Address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address, *map(x509.DNSName, names)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
