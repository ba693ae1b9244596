"""Downloads the results of a batch into a folder, named by the user; can be resumed."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tasks.usecases.audit import GIVE_UP, THREADS
from tasks.usecases.batches.download.fetch import Fetched, Fetcher, Status
from tasks.usecases.batches.download.names import DEFAULT_NAME, NameTemplate
from tasks.usecases.batches.download.plan import Plan
from tasks.usecases.names import find_batch
from worker.errors import ArchiveError, RequestInvalid
from worker.generation import OPEN
from worker.services import Services

#: files that are handed to the threads at once
_PAGE = 256

#: shows progress: takes the number of files, yields the function to call after each
Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """`batch`: its name or id. `name`: a template with the fields of `FIELDS` and the user's columns."""

    batch: str
    folder: Path
    name: str = DEFAULT_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """`counts`: files by status.

    `problems`: files that were left or failed. `bytes`: of the downloaded files. `open`: generations still in progress.
    """

    batch_id: str
    batch: str
    folder: Path
    counts: Counter[str]
    bytes: int
    problems: tuple[Fetched, ...]
    open: int

    @property
    def is_complete(self) -> bool:
        return not self.problems


def download(
    here: Services, request: DownloadRequest, progress: Progress = lambda _: nullcontext(lambda: None)
) -> Downloaded:
    """Download what is not in the folder yet.

    Raises as `find_batch` does; RequestInvalid before anything is written; ArchiveError or ConfigurationError for the
    bucket.
    """
    batch_id = find_batch(here.ledger, request.batch)
    batch = here.ledger.assets.batch_names([batch_id])[batch_id]
    template = NameTemplate(request.name, here.ledger.generations.result_columns(batch_id).inputs)
    if request.folder.exists() and not request.folder.is_dir():
        raise RequestInvalid(f"{request.folder} is a file: give a folder")
    plan = Plan(here.ledger, batch_id, template)
    total = plan.check()
    here.archive.check()
    counts: Counter[str] = Counter()
    problems: list[Fetched] = []
    received, failed_in_a_row = 0, 0
    fetcher, files = Fetcher(here.archive, request.folder), plan.files()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="download")
    try:
        with progress(total) as tick:
            while page := list(islice(files, _PAGE)):
                for done in pool.map(fetcher.fetch, page):
                    counts[done.status] += 1
                    if done.status is Status.DOWNLOADED:
                        received += done.wanted.asset.bytes or 0
                    elif done.status is not Status.PRESENT:
                        problems.append(done)
                    failed_in_a_row = failed_in_a_row + 1 if done.status is Status.FAILED else 0
                    if failed_in_a_row == GIVE_UP:
                        raise ArchiveError(f"stopped after {counts[Status.DOWNLOADED]:,} files: {done.why}")
                    tick()
    finally:
        pool.shutdown(cancel_futures=True)
    states = here.ledger.generations.counts(batch_id)
    return Downloaded(
        batch_id=batch_id,
        batch=batch,
        folder=request.folder,
        counts=counts,
        bytes=received,
        problems=tuple(problems),
        open=sum(number for state, number in states.items() if state in OPEN),
    )
