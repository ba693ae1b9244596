import hashlib
import math
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import Client
from webhook.sandbox import Sandbox, running


def test_a_link_says_when_it_was_made_and_when_it_dies(client: Client):
    before = int(time.time())
    link = client.made()["raw_image_url"]
    assert re.fullmatch(
        rf"{client.url}/attachments/\d+/\d+/[\w.-]+\.png\?ex=[0-9a-f]+&is=[0-9a-f]+&hm=[0-9a-f]{{64}}&", link
    )
    query = parse_qs(urlsplit(link).query)
    issued, expires = int(query["is"][0], 16), int(query["ex"][0], 16)
    assert before <= issued <= time.time()
    assert expires - issued == 86_400


def test_links_use_the_name_under_which_the_sandbox_was_called(client: Client):
    port = urlsplit(client.url).port
    client.url = f"http://localhost:{port}"
    assert client.made()["raw_image_url"].startswith(f"http://localhost:{port}/attachments/")


def test_a_download_is_logged_with_its_hash(sandbox: Sandbox, client: Client):
    link = client.made()["raw_image_url"]
    data = client.get(link).data
    (entry,) = sandbox.served(link)
    assert entry["status"] == 200
    assert entry["bytes"] == len(data)
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert "?" not in entry["path"]


@pytest.mark.parametrize("part", ["ex", "is", "hm"])
def test_a_changed_byte_in_the_signature_kills_the_link(client: Client, part: str):
    link = client.made()["raw_image_url"]
    value = re.search(rf"{part}=([0-9a-f]+)&", link)[1]
    changed = value[:-1] + ("0" if value[-1] != "0" else "1")
    answer = client.get(link.replace(f"{part}={value}", f"{part}={changed}"))
    assert answer.status == 404
    assert answer.data == b"This content is no longer available."


def test_a_changed_name_or_a_missing_signature_kills_the_link(client: Client):
    link = client.made()["raw_image_url"]
    assert client.get(link.replace(".png", "x.png")).status == 404
    assert client.get(link.partition("?")[0]).status == 404


def test_a_link_dies_at_its_time_and_a_query_gives_a_fresh_one(http: urllib3.PoolManager):
    life = math.ceil(patient(1))
    with running(delay=0, link_life=life) as sandbox:
        client = Client(sandbox.url, http)
        made = client.made()
        assert client.get(made["raw_image_url"]).status == 200
        time.sleep(life + 0.1)
        assert client.get(made["raw_image_url"]).status == 404
        assert [entry["status"] for entry in sandbox.served(made["raw_image_url"])] == [200, 404]
        fresh = client.record(made["task_id"])["response"]["raw_image_url"]
        assert client.get(fresh).status == 200
        assert client.get(fresh).headers["Content-Type"] == "image/png"
