"""The page `/gallery`."""

from flask.testing import FlaskClient

from tests.factories import archived
from worker.ledger import Ledger

LOCAL = {"base_url": "http://127.0.0.1:80"}


def test_the_gallery_shows_pictures_newest_first(client: FlaskClient, ledger: Ledger) -> None:
    ids = archived(ledger, 3)
    found = client.get("/gallery", headers={"Accept": "text/html"}, **LOCAL)
    assert found.status_code == 200, found.text
    places = [found.text.index(f'data-pick="{one}.0"') for one in ids]
    assert places == sorted(places, reverse=True)
