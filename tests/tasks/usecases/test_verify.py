"""Stored results verified without a command line."""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tasks.usecases.verify import VerifyRequest, verify
from tests.tasks.cli import stories
from worker.errors import NotFound, RequestInvalid
from worker.ledger.assets import Archived, Stored
from worker.services import Services

BODY = b"the bytes of a fox"


def stored(here: Services, key: str, task_id: str, body: bytes = BODY) -> None:
    """A result that the ledger takes for BODY; `body` is what lies in the bucket."""
    stories.succeeded(here.ledger, task_id, link=f"{stories.LINK}&{task_id}", batch="animals")
    (claim,) = here.ledger.assets.claim(1, stories.MINUTE)
    result = Stored(
        index=0, object_key=key, sha256=hashlib.sha256(BODY).hexdigest(), bytes=len(BODY), content_type="image/png"
    )
    here.ledger.assets.record([Archived(claim, (result,), described=True)])
    sha256, size = hashlib.sha256(body).hexdigest(), len(body)
    facts = {"content_type": "image/png", "metadata": {}, "filename": "fox.png", "tags": {}}
    here.archive.store(key, io.BytesIO(body), sha256=sha256, size=size, **facts)  # type: ignore[arg-type]


def test_what_was_changed_is_found_and_progress_is_counted(here_with_bucket: Services) -> None:
    here = here_with_bucket
    prefix = here.archive.keys.prefix
    stored(here, f"{prefix}/good.png", "task-1")
    stored(here, f"{prefix}/bad.png", "task-2", b"the bytes of a dog")
    told: list[int] = []

    @contextmanager
    def progress(total: int) -> Iterator[Callable[[], None]]:
        yield lambda: told.append(total)

    verified = verify(here, VerifyRequest(), progress)
    assert (verified.checked, list(verified.changed), dict(verified.missing)) == (2, [f"{prefix}/bad.png"], {})
    assert verified.damaged == (f"{prefix}/bad.png",)
    assert (verified.is_intact, verified.not_repaired) == (False, None)
    assert told == [2, 2]


def test_what_cannot_be_put_back_says_why(here_with_bucket: Services) -> None:
    here = here_with_bucket
    key = f"{here.archive.keys.prefix}/bad.png"
    stored(here, key, "task-1", b"the bytes of a dog")
    here.ledger.maintenance.prune_links(here.clock() + timedelta(days=1))
    verified = verify(here, VerifyRequest(batch="animals", repair=True))
    # Without a key nobody can ask the provider for another link.
    assert verified.not_repaired is not None
    assert "ACEDATACLOUD_API_TOKEN is not set" in verified.not_repaired[key]
    assert not verified.is_intact


def test_of_two_batches_with_one_name_none_is_verified_as_if_it_were_both(here_with_bucket: Services) -> None:
    here = here_with_bucket
    for number in (1, 2):
        stored(here, f"{here.archive.keys.prefix}/{number}.png", f"task-{number}")
    with pytest.raises(RequestInvalid, match="several batches match 'animals'; give its id:") as refused:
        verify(here, VerifyRequest(batch="animals"))
    _, newest, oldest = str(refused.value).splitlines()
    for line in (newest, oldest):
        assert verify(here, VerifyRequest(batch=line.split()[0])).checked == 1


def test_only_one_thing_narrows_what_is_verified(here: Services) -> None:
    with pytest.raises(RequestInvalid, match="give only one of"):
        VerifyRequest(batch="animals", sample=3)
    with pytest.raises(NotFound, match="there is no batch 'animals'"):
        verify(here, VerifyRequest(batch="animals"))
