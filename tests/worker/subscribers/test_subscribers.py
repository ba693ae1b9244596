"""Who is told of events: names that may be shown, addresses that may not."""

import pytest

from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.errors import ConfigurationError
from worker.settings.settings import load_settings
from worker.subscribers.subscribers import CeleryTask, celery_tasks, is_wanted, patterns, webhooks

TOKEN = "hunter2hunter2"


def test_the_name_of_a_webhook_says_its_host_and_nothing_secret():
    one, two = webhooks(f"https://hooks.example.com/{TOKEN}, https://hooks.example.com/other?key={TOKEN}")
    assert one.name.startswith("hooks.example.com-")
    assert one.name != two.name
    assert TOKEN not in f"{one.name}{two.name}{one!r}{two!r}"
    assert webhooks(one.url) == [one]


def test_an_address_that_stands_there_twice_is_one_subscriber():
    assert len(webhooks("https://a.example/x,, https://a.example/x ,")) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"ftp://a.example/{TOKEN}", "number 2 is not of the form https://host/path"),
        (f"hooks.example/{TOKEN}", "number 2 is not of the form"),
        (f"https:///{TOKEN}", "number 2 is not of the form"),
        (f"https://a.example/{TOKEN} x", "number 2 is not of the form"),
        (f"https://a.example/{TOKEN}ä", "number 2 is not of the form"),
        (f"https://a.example:port/{TOKEN}", "number 2 is not of the form https"),
        (f"https://[::1/{TOKEN}", "number 2 is not of the form https"),
        (f"https://me:{TOKEN}@a.example/", "number 2 has a user name"),
        (f"https://a.example/#{TOKEN}", "number 2 has a user name or a #"),
        (f"http://93.184.216.34/{TOKEN}", "number 2 would send events unencrypted over the internet: use https"),
        (f"http://[::ffff:93.184.216.34]/{TOKEN}", "number 2 would send events unencrypted over the internet"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_by_its_number_only(url: str, words: str):
    with pytest.raises(ValueError, match=words) as caught:
        webhooks(f"https://fine.example/,{url}")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "10.1.2.3", "[::1]", "[fd00::1]", "subscriber:8080", "localhost"])
def test_plain_http_is_for_private_addresses_and_for_names_which_are_looked_up_later(host: str):
    assert len(webhooks(f"http://{host}/x")) == 1


def test_a_task_is_named_with_its_queue_or_without():
    assert celery_tasks("billing.on_event, search.index@search") == [
        CeleryTask("billing.on_event", "billing.on_event", "celery"),
        CeleryTask("search.index@search", "search.index", "search"),
    ]
    with pytest.raises(ValueError, match="invalid Celery task 'not a task'; write it like"):
        celery_tasks("billing.on_event,not a task")


def test_kinds_of_events_are_chosen_by_patterns():
    wanted = patterns("generation.*, asset.expired")
    assert is_wanted("generation.failed", wanted)
    assert is_wanted("asset.expired", wanted)
    assert not is_wanted("asset.archived", wanted)
    assert is_wanted("whatever.happens", patterns("*"))
    with pytest.raises(ValueError, match=r"invalid event pattern 'Generation failed'; write them like generation\.\*"):
        patterns("Generation failed")


def test_nobody_is_told_unless_somebody_is_named():
    assert load_settings().subscribers == []


def test_the_settings_name_everybody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", "https://a.example/x,http://127.0.0.1/y")
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
    monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "billing.on_event")
    names = [one.name.partition("-")[0] for one in load_settings().subscribers]
    assert names == ["a.example", "127.0.0.1", "billing.on_event"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DARKROOM_NOTIFY_URLS", f"https://a.example/{TOKEN}", "DARKROOM_NOTIFY_URLS is set, but DARKROOM_NOTIFY_SECR"),
        ("DARKROOM_NOTIFY_URLS", f"ftp://a.example/{TOKEN}", "DARKROOM_NOTIFY_URLS: address number 1 is not of the"),
        ("DARKROOM_NOTIFY_SECRET", TOKEN, "DARKROOM_NOTIFY_SECRET: expected whsec_"),
        ("DARKROOM_NOTIFY_TASKS", "a b", "DARKROOM_NOTIFY_TASKS: invalid Celery task 'a b'"),
        ("DARKROOM_NOTIFY_EVENTS", "?", "DARKROOM_NOTIFY_EVENTS: invalid event pattern '?'"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_clear_line_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
    assert TOKEN not in f"{caught.value}{caught.value.__cause__}"
