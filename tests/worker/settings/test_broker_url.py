"""REDIS_URL: every form is understood, any other refused by name. That they work: tests/system/test_every_broker.py."""

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu import Connection

from worker.errors import ConfigurationError
from worker.settings.broker_url import celery_broker, read_broker_url
from worker.settings.settings import load_settings

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("url", "scheme", "hosts", "db"),
    [
        ("redis://", "redis", (("127.0.0.1", 6379),), 0),
        ("redis://host", "redis", (("host", 6379),), 0),
        ("redis://:pw@host:7000/3", "redis", (("host", 7000),), 3),
        ("redis://host?db=3", "redis", (("host", 6379),), 3),
        ("redis://[::1]:7000/1", "redis", (("::1", 7000),), 1),
        ("REDISS://default:pw@host:25061", "rediss", (("host", 25061),), 0),
        ("valkey://host", "redis", (("host", 6379),), 0),
        ("valkeys://default:pw@host/2", "rediss", (("host", 6379),), 2),
        ("unix:///run/redis.sock?db=2", "unix", (), 2),
        ("redis+socket:///run/redis.sock?virtual_host=2", "unix", (), 2),
        ("sentinel://:pw@one:1,two,[::1]:3/2?master=main", "sentinel", (("one", 1), ("two", 26379), ("::1", 3)), 2),
    ],
)
def test_every_form_is_understood(url: str, scheme: str, hosts: tuple[tuple[str, int], ...], db: int) -> None:
    read = read_broker_url(url)
    assert (read.scheme, read.hosts, read.db) == (scheme, hosts, db)
    assert read.password == ("pw" if "pw@" in url else None)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "this is not a broker URL"),
        ("foo", "this is not a broker URL"),
        (f"{SECRET}:x", "this is not a broker URL"),
        (f"amqp://me:{SECRET}@host", "amqp:// is not supported: the broker is Redis or Valkey"),
        ("foo://x", "foo:// is not supported"),
        (f"redis+cluster://:{SECRET}@host", "redis+cluster:// is not supported"),
        ("sqs://key:secret@", "sqs:// is not supported"),
        ("redis://host:port/0", "invalid redis:// URL"),
        (f"redis://:{SECRET}/x@host", "in a password write %2F for /"),
        (f"redis://:12/{SECRET}@host", "invalid redis:// URL"),
        (f"redis://me:12?{SECRET}@host", "invalid redis:// URL"),
        (f"redis://:{SECRET}#x@host", "invalid redis:// URL"),
        (f"redis://me:12#{SECRET}@host", "invalid redis:// URL"),
        ("redis://[::1", "invalid redis:// URL"),
        ("redis://one:1;redis://two:2", "invalid redis:// URL"),
        ("redis://one,two", "invalid redis:// URL"),
        ("redis://host/x", "its database must be a number from 0"),
        (f"redis://me:12/{SECRET}", "its database must be a number from 0"),
        ("redis://host/0?ssl_cert_reqs=none", "redis:// has no option 'ssl_cert_reqs'; expected one of db"),
        ("rediss://host?ssl_cert_reqs=perhaps", "ssl_cert_reqs must be required, optional or none"),
        ("rediss://host?ssl_check_hostname=perhaps", "ssl_check_hostname must be true or false"),
        ("unix://run/redis.sock", "invalid unix:// URL"),
        ("unix://", "it has no socket: write unix:///run/redis/redis.sock?db=0"),
        ("sentinel://host", "name the sentinels' master"),
        ("sentinel:///0?master=main", "it has no sentinels"),
    ],
)  # fmt: skip
def test_any_other_is_refused_by_name_without_its_password(
    url: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError) as refused:
        read_broker_url(url)
    assert sentence in str(refused.value)
    assert SECRET not in str(refused.value)
    if url:
        monkeypatch.setenv("REDIS_URL", url)
        with pytest.raises(ConfigurationError) as told:
            load_settings()
        assert str(told.value) == f"REDIS_URL: {refused.value}"


@given(st.text(max_size=30), st.text(max_size=20))
@example("a;b/c@d:e?f#g", "%2F")
def test_a_password_of_any_signs_arrives_whole_wherever_it_is_written(password: str, user: str) -> None:
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    for url in (f"redis://{login}@host/1", f"unix://{login}@/a/b?db=1", f"sentinel://{login}@one,two/1?master=m"):
        read = read_broker_url(url)
        assert (read.username, read.password) == (user or None, password or None)
        assert not password or password in read.secrets
        connections = [Connection(one) for one in celery_broker(url).url.split(";")]
        if read.scheme != "unix":  # which kombu reads when it connects: tests/system/test_every_broker.py
            for one in connections:
                assert (one.userid, one.password, one.virtual_host) == (user or None, password or None, "1")


@given(st.text(max_size=60))
def test_whatever_it_is_it_is_understood_or_refused_with_a_sentence(text: str) -> None:
    for url in (text, f"redis://{text}", f"unix://{text}", f"sentinel://{text}?master=m", f"rediss://host?{text}"):
        with suppress(ValueError):
            celery_broker(url)


def test_a_certificate_is_checked_unless_the_url_says_otherwise() -> None:
    """kombu would take any, with a warning."""
    assert celery_broker("redis://host").use_ssl is None
    asked = celery_broker("rediss://host?ssl_ca_certs=/ca.pem&ssl_certfile=/me.pem&ssl_keyfile=/me.key")
    assert asked.url == "rediss://host:6379/0"
    assert asked.use_ssl == {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": "/ca.pem",
        "ssl_certfile": "/me.pem",
        "ssl_keyfile": "/me.key",
    }
    for none in ("none", "CERT_NONE"):
        unchecked = celery_broker(f"valkeys://host?ssl_cert_reqs={none}").use_ssl
        assert unchecked == {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
