"""Restores a missing or changed object, if the original bytes are still available."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import IO

from tasks.asking import fresh_link, hosts_of
from tasks.splitting import cut_grid
from tasks.storing import Measured, measured, put, text_file
from worker.archive import StoredAsset, Verdict
from worker.errors import ArchiveError, ContentInvalid, LinkDead
from worker.generation import Asset, Generation, Operation
from worker.media import marked
from worker.services import Services


def put_back(here: Services, asset: Asset, found: str) -> None:
    """Store the recorded bytes again under their key, replacing the object; `found` goes into the history.

    Raises DarkroomError if they are not available. Only bytes with the recorded hash are stored.
    """
    (generation,) = here.ledger.generations.get([asset.generation_id])
    name = here.ledger.assets.batch_names([generation.batch_id]).get(generation.batch_id)
    wanted = StoredAsset(
        object_key=str(asset.object_key),
        sha256=str(asset.sha256),
        bytes=asset.bytes or 0,
        content_type=str(asset.content_type),
    )
    store = partial(put, here, generation, wanted, index=asset.index, batch=name, replace=True)
    if asset.content is not None:
        body = text_file(asset.content)
        if hashlib.sha256(body).hexdigest() != asset.sha256:
            raise ContentInvalid("its text was formatted differently; the ledger still has the text")
        store(io.BytesIO(body))
    elif generation.operation is Operation.SPLIT:
        if not _store_same(cut_grid(here, generation)[asset.index], generation, asset, store):
            raise ContentInvalid("recutting its grid gives different bytes for the same pixels, which were not stored")
    else:
        try:
            _fetch(here, generation, asset, store)
        except LinkDead as dead:
            fresh = fresh_link(here, generation, asset)
            if fresh is None:
                raise LinkDead(f"{dead}; the provider offers no other link") from dead
            fresh_asset = replace(asset, url=fresh[0], renewals=asset.renewals + 1)
            _fetch(here, generation, fresh_asset, store)
    if here.archive.verify(wanted.object_key, wanted.sha256) is not Verdict.INTACT:
        raise ArchiveError("it was stored again, but the bucket returns different bytes")
    here.ledger.assets.note_repair(asset, found)


def _fetch(here: Services, generation: Generation, asset: Asset, store: Callable[[IO[bytes]], StoredAsset]) -> None:
    if not asset.url:
        raise LinkDead("its link was pruned")
    with here.downloader_of(generation).fetch(asset.url, hosts_of(here, generation, asset)) as download:
        if not _store_same(download, generation, asset, store):
            raise ContentInvalid("its link now returns different bytes, which were not stored")


def _store_same(found: Measured, generation: Generation, asset: Asset, store: Callable[[IO[bytes]], object]) -> bool:
    """Store `found`, marked as before, if that gives the recorded bytes; return whether it did."""
    if found.sha256 == asset.sha256:
        store(found.file)
        return True
    if found.sha256 != asset.source_sha256:
        return False
    copy = marked(found.file, str(asset.content_type), generation.id)
    if copy is None:
        return False
    with copy:
        if measured(copy)[0] != asset.sha256:
            return False
        store(copy)
    return True
