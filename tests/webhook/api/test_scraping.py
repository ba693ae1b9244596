"""A real scrape of a real private process: beside receivers that restart and die, a ledger and a broker that freeze."""

import http.client
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasks.usecases.tokens import TokenRequest, create_token
from tests.cutting_proxy import CuttingProxy
from tests.patience import patient, wait_for
from tests.webhook.api.serving import served
from tests.webhook.receiving import new_attempt, path_of
from tests.webhook.serving import Served, valkey
from tests.webhook.serving import served as receiving
from worker.embedded.servers import LOOPBACK
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import Settings

pytestmark = pytest.mark.processes

#: seconds within which receivers and Dependency tell what is new
SOON = 30
#: which Prometheus gives a scrape
TIMEOUT = 10
COUNT = "darkroom_callback_acknowledgement_seconds_count"
ANSWERED = "darkroom_callback_answers_total"

Found = Mapping[tuple[str, ...], float]


def scrape(url: str, secret: str | None = None) -> Found:
    """Values by the name of the sample and the values of its labels, in the order of their names."""
    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {secret}"} if secret else {})
    with urllib.request.urlopen(request, timeout=patient(TIMEOUT)) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def up(found: Found, part: str) -> bool:
    return bool(found["darkroom_part_up", part])


def post(server: Served, count: int) -> Counter[str]:
    """Each over a connection of its own, so that both processes get some; how many got which answer."""
    statuses: Counter[str] = Counter()
    for number in range(count):
        path = path_of(new_attempt())
        with closing(http.client.HTTPConnection(LOOPBACK, server.port, timeout=patient(10))) as connection:
            connection.request("POST", path if number % 5 else f"{path[:-1]}-", b"{}")
            statuses[str(connection.getresponse().status)] += 1
    return statuses


def answers(found: Found) -> dict[str, float]:
    return {key[1]: value for key, value in found.items() if key[0] == ANSWERED}


def test_what_receivers_have_answered_survives_their_restart_and_adds_up(database_url: str) -> None:
    """Two servers of two processes each, one of which restarts."""
    with served(database_url) as (url, _), receiving(database_url) as first:
        with receiving(database_url) as second:
            sent = post(first, 40) + post(second, 40)
        sent += post(first, 20)
        with receiving(database_url) as second:
            sent += post(second, 20)
        assert wait_for(lambda: answers(scrape(url)) == sent, SOON), (answers(scrape(url)), sent)
        found = scrape(url)
        assert found[(COUNT,)] == found["darkroom_callback_acknowledgement_seconds_bucket", "+Inf"] == sent["200"]
        assert found["darkroom_callback_acknowledgement_seconds_bucket", "10.0"] == sent["200"]
        assert found["darkroom_callback_acknowledgement_seconds_sum",] > 0
        kinds = [key[1] for key in found if key[0] == "darkroom_heartbeat_age_seconds"]
        # Those of the second server were stopped.
        assert kinds == ["receiver"] * 2
    with served(database_url) as (url, _):
        assert answers(scrape(url)) == sent


def test_a_receiver_that_is_killed_takes_nothing_back(sqlite_url: str) -> None:
    seen: list[float] = []
    with served(sqlite_url) as (url, _), receiving(sqlite_url) as server:
        sent = post(server, 40)
        assert wait_for(lambda: answers(scrape(url)) == sent, SOON)
        for _ in range(2):
            seen.append(scrape(url)[(COUNT,)])
            before = {one.pid for one in server.workers()}
            server.workers()[0].kill()
            assert wait_for(lambda before=before: len({one.pid for one in server.workers()} | before) == 3, SOON)
            seen.append(scrape(url)[(COUNT,)])
            assert wait_for(lambda: len(server.workers()) == 2, SOON)
            post(server, 10)
        assert wait_for(lambda: scrape(url)[(COUNT,)] > seen[-1], SOON)
        seen.append(scrape(url)[(COUNT,)])
        assert seen == sorted(seen)
        # Whoever replaced one has forgotten it.
        names = {f"receiver.{one.pid}" for one in server.workers()}
        assert wait_for(
            lambda: {
                key[2].partition("@")[0] for key in scrape(url) if key[0] == "darkroom_heartbeat_age_seconds"
            } == names,
            SOON,
        )  # fmt: skip


@pytest.fixture
def proxy(postgresql_url: str) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgresql_url) as running:
        yield running


def test_a_ledger_that_falls_silent_leaves_out_its_families_and_holds_up_no_scrape(proxy: CuttingProxy) -> None:
    with closing(Ledger(proxy.url)) as ledger:
        here = Services(Settings(database_url=proxy.url))  # type: ignore[arg-type]
        here.__dict__["ledger"] = ledger
        secret = create_token(here, TokenRequest(name="prom", scopes=["metrics:read"], by="somebody")).secret
    with served(proxy.url) as (url, _):
        assert up(scrape(url, secret), "counts")
        # As long as what was read of the token is believed.
        time.sleep(6)
        proxy.silence()
        proxy.is_deaf = True
        # Within the time that Prometheus gives it.
        found = scrape(url, secret)
        assert not up(found, "counts")
        assert not [key for key in found if key[0] == "darkroom_generations"]
        assert ("darkroom_work_due", "ingest") not in found
        proxy.is_deaf = False
        assert wait_for(lambda: up(scrape(url, secret), "counts"), 60)


def test_a_broker_that_is_frozen_leaves_out_its_queues_alone(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "broker").mkdir()
    with valkey(tmp_path / "broker") as (redis_url, broker), served(sqlite_url, REDIS_URL=redis_url) as (url, _):
        assert wait_for(lambda: up(scrape(url), "broker"), SOON)
        assert scrape(url)["darkroom_broker_queue_length", "quick"] == 0
        broker.send_signal(signal.SIGSTOP)
        try:
            assert wait_for(lambda: not up(scrape(url), "broker"), SOON)
            with ThreadPoolExecutor(4) as pool:
                for found in pool.map(lambda _: scrape(url), range(4)):
                    assert up(found, "counts")
                    assert ("darkroom_broker_queue_length", "quick") not in found
        finally:
            broker.send_signal(signal.SIGCONT)
        assert wait_for(lambda: up(scrape(url), "broker"), 60)
