"""Tasks of a provider's list, imported without a command line."""

from datetime import timedelta

import pytest

from tasks.usecases.import_tasks import FoundTasks, ImportRequest, import_tasks
from tasks.usecases.pages import in_pages
from tests.pipeline import Start
from tests.tasks.test_rescue import elsewhere
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import State

DAY = timedelta(days=1)


def test_what_was_made_elsewhere_is_announced_and_then_imported_once(start: Start) -> None:
    pipeline = start()
    theirs = elsewhere(pipeline, "acedata", "a boat of others", "http://127.0.0.1:1/hook")
    told: list[FoundTasks] = []
    announced = import_tasks(pipeline.here, ImportRequest("acedata", DAY, dry_run=True), told.append)
    assert (announced.taken, announced.left, announced.known, announced.unread) == (1, 0, 0, ())
    assert pipeline.all() == []
    imported = import_tasks(pipeline.here, ImportRequest("acedata", DAY), told.append)
    assert (imported.taken, imported.known) == (1, 0)
    (generation,) = pipeline.all()
    assert generation.state in {State.SUBMITTED, State.SUCCEEDED}
    first, second = (one for page in told for one in page.tasks)
    assert (first.task_id, first.generation_id, first.message) == (theirs, None, "would be imported")
    assert (second.generation_id, second.message) == (generation.id, f"imported as {generation.id}")
    assert [page.wakes for page in told] == [(), ("archive", "poll")]
    assert import_tasks(pipeline.here, ImportRequest("acedata", DAY), told.append).known == 1
    assert told[-1] == FoundTasks((), ())


def test_only_a_provider_with_a_list_can_be_imported_from(start: Start) -> None:
    pipeline = start()
    with pytest.raises(ConfigurationError, match="unknown provider 'nobody'"):
        import_tasks(pipeline.here, ImportRequest("nobody", DAY), lambda _: None)
    with pytest.raises(RequestInvalid, match="has no list of its tasks"):
        import_tasks(pipeline.here, ImportRequest("kie", DAY), lambda _: None)


def test_pages_hold_everything_in_order() -> None:
    assert list(in_pages("acedata", iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
