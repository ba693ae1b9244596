from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.downloads.link_expiry import PLAUSIBLE, deadline_of, is_told
from worker.generation import Asset
from worker.providers import end_is_proven

SEEN_AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
RETENTION = timedelta(hours=24)
BY_RULE = SEEN_AT + RETENTION

PARAMETER_NAMES = ("ex", "Expires", "X-Amz-Date", "X-Amz-Expires", "X-Goog-Date", "X-Goog-Expires", "se", "is", "hm")


def deadline(query: str) -> datetime:
    return deadline_of(f"https://cdn.example/a.png?{query}", seen_at=SEEN_AT, retention=RETENTION)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("ex=6a2131e0&is=6a1fe060&hm=ca9be549&", id="Discord"),
        pytest.param("Expires=1780560352&Signature=x&Key-Pair-Id=y", id="CloudFront"),
        pytest.param("X-Amz-Date=20260604T071552Z&X-Amz-Expires=3000&X-Amz-Signature=x", id="S3"),
        pytest.param("X-Goog-Date=20260604T071552Z&X-Goog-Expires=3000", id="Google"),
        pytest.param("sv=2024-11-04&se=2026-06-04T08%3A05%3A52Z&sig=x", id="Azure"),
        pytest.param("se=2026-06-04T10%3A05%3A52%2B02%3A00", id="Azure, another time zone"),
    ],
)
def test_the_link_itself_says_when_it_dies(query):
    assert deadline(query) == datetime(2026, 6, 4, 8, 5, 52, tzinfo=UTC)
    assert deadline(query).tzinfo is UTC


def test_an_azure_link_may_name_only_a_day():
    assert deadline("se=2026-12-01&sig=x") == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_link_that_says_nothing_lives_as_long_as_the_providers_rule_says():
    assert deadline_of("https://cdn.midjourney.com/88e16dab/0_0.png", seen_at=SEEN_AT, retention=RETENTION) == BY_RULE


def test_a_link_that_is_dead_already_keeps_its_time():
    assert deadline("ex=662fdb36&is=662e89b6&hm=ca9b") == datetime(2024, 4, 29, 17, 39, 2, tzinfo=UTC)


def test_of_several_times_the_earliest_counts():
    assert deadline("ex=6a2131e0&se=2026-06-01&Expires=1780560999") == datetime(2026, 6, 1, tzinfo=UTC)


def test_what_follows_the_fragment_sign_is_not_believed():
    assert deadline("a=b#?ex=6a2131e0") == BY_RULE


def test_a_time_seen_in_another_zone_gives_the_same_moment_in_utc():
    seen_at = SEEN_AT.astimezone(timezone(timedelta(hours=-8)))
    result = deadline_of("https://cdn.example/a.png", seen_at=seen_at, retention=RETENTION)
    assert result == BY_RULE
    assert result.tzinfo is UTC


@pytest.mark.parametrize(
    "query",
    [
        "ex=",
        "ex=soon",
        "ex=-1",
        "ex=0x6a2131e0",
        "ex=6a21_31e0",
        "ex=ffffffffffffffff",
        "ex=" + "f" * 10_000,
        "Expires=0",
        "Expires=-1780560352",
        "Expires=1780560352.5",
        "Expires=１７８０５６０３５２",  # noqa: RUF001
        "Expires=253402300799",
        "Expires=99999999999999999999",
        "Expires=Thu, 04 Jun 2026 07:55:52 GMT",
        "X-Amz-Date=20260604T070552Z",
        "X-Amz-Expires=3000",
        "X-Amz-Date=20260604&X-Amz-Expires=3000",
        "X-Amz-Date=20260604T070552Z&X-Amz-Expires=-3000",
        "X-Amz-Date=99991231T235959Z&X-Amz-Expires=604800",
        "X-Amz-Date=20260604T070552Z&X-Goog-Expires=3000",
        "se=9999-12-31T23:59:59-14:00",
        "se=0001-01-01T00:00:00%2B14:00",
        "se=tomorrow",
    ],
)
def test_garbage_in_the_link_falls_back_to_the_rule(query):
    assert deadline(query) == BY_RULE


@given(st.text())
def test_no_text_makes_it_raise(text):
    for url in (text, f"https://cdn.example/a.png?{text}"):
        assert abs(deadline_of(url, seen_at=SEEN_AT, retention=RETENTION) - SEEN_AT) <= PLAUSIBLE


@given(
    st.dictionaries(
        st.sampled_from(PARAMETER_NAMES),
        st.text()
        | st.integers().map(str)
        | st.integers().map("{:x}".format)
        | st.datetimes().map("{:%Y%m%dT%H%M%SZ}".format)
        | st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    ),
)
def test_no_combination_of_known_parameters_makes_it_raise(parameters):
    result = deadline(urlencode(parameters))
    assert result.tzinfo is UTC
    assert abs(result - SEEN_AT) <= PLAUSIBLE


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2036, 1, 1)))  # noqa: DTZ001
def test_every_dialect_gives_back_the_second_that_was_written(moment):
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    seconds = int(moment.timestamp())
    issued = f"{moment - timedelta(days=1):%Y%m%dT%H%M%SZ}"
    for query in (
        f"ex={seconds:x}",
        f"Expires={seconds}",
        f"X-Amz-Date={issued}&X-Amz-Expires=86400",
        f"X-Goog-Date={issued}&X-Goog-Expires=86400",
        urlencode({"se": moment.isoformat()}),
    ):
        assert deadline(query) == moment


def test_a_deadline_that_the_link_names_is_no_guess():
    url = "https://cdn.example/a.png?ex=6922a000&hm=1"
    told = deadline_of(url, seen_at=datetime(2025, 11, 22, tzinfo=UTC), retention=timedelta(hours=24))
    assert is_told(url, told)
    assert not is_told(url, told + timedelta(hours=1))
    assert not is_told("https://cdn.example/a.png?ex=never", told)


def test_a_retention_that_the_provider_documents_is_no_guess_either():
    def asset(url: str) -> Asset:
        names = dict.fromkeys(field.name for field in fields(Asset))
        return Asset(**names | {"url": url, "deadline": datetime(2025, 11, 23, tzinfo=UTC)})

    assert [end_is_proven(name, asset("https://a.example/x")) for name in ("kie", "acedata", "nobody")] == [
        True,
        False,
        False,
    ]
    assert end_is_proven("acedata", asset("https://a.example/x?Expires=1763856000"))
