"""P7: what the private process keeps in memory once people and programs have used it."""

import json
from concurrent.futures import ThreadPoolExecutor

import requests

from worker.services import Services

GOAL_MB = 120
#: how many requests at the same time
_TABS = 4
_ROUNDS = 10
_ROWS = 50_000
_PAGES = (
    *("/", "/gallery", "/gallery?words=tiny", "/gallery?state=archived", "/review", "/submit", "/operate"),
    *("/operate/accounts", "/operate/spend", "/operate/subscribers", "/operate/unconfirmed", "/operate/workers"),
    *("/v1/generations", "/v1/batches", "/v1/events", "/v1/spend", "/v1/providers", "/v1/openapi.json"),
    *("/metrics", "/readyz"),
)


def use(url: str, services: Services) -> None:
    """Open every page, its images included, several at the same time, and check a large file three times."""
    generations = [f"/generations/{one.id}" for one in services.ledger.generations.page(limit=20)]
    thumbnails = [f"{one.replace('generations', 'thumbs')}/0" for one in generations]

    client = requests.Session()

    def get(path: str) -> None:
        client.get(f"{url}{path}", timeout=60, allow_redirects=False).raise_for_status()

    with ThreadPoolExecutor(_TABS) as pool:
        for _ in pool.map(get, (*_PAGES, *generations, *thumbnails) * _ROUNDS):
            pass
    rows = "\n".join(json.dumps({"key": f"r{number}", "prompt": f"a fox, {number}"}) for number in range(_ROWS))
    for _ in range(3):
        client.post(
            f"{url}/v1/batches?dry_run=true&name=large",
            data=rows.encode(),
            headers={"Content-Type": "application/jsonl"},
            timeout=300,
        ).raise_for_status()
