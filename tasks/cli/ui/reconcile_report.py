"""What `darkroom reconcile` found, for people: what is known, what is not, and what to do."""

from collections.abc import Iterator, Sequence

from tasks.usecases.comparing import Compared
from tasks.usecases.restore import Report
from worker.generation import State
from worker.secrets import title_of

#: ids that are shown to people; programs get all of them
_SHOWN = 10


def lines(report: Report) -> Iterator[str]:
    yield f"compared with everything since {report.since:%Y-%m-%d %H:%M} UTC"
    if report.no_marker:
        yield f"bucket: unknown, {report.no_marker}"
    for one in report.compared:
        yield from _of_provider(one)
    if report.callbacks:
        count = len(report.callbacks)
        yield f"callbacks: {count} for submissions that this ledger does not know; `darkroom dead` lists them"
    for task_id, generation_id in report.adopted[:_SHOWN]:
        yield f"imported: task {task_id} → {generation_id}"
    if len(report.adopted) > _SHOWN:
        yield f"imported: {len(report.adopted) - _SHOWN} more"
    yield f"{report.queued} queued"
    gate = report.gate
    if report.opened and gate is not None:
        yield f"submissions resumed: confirmed by {gate.opened_by}"
    elif gate is None or gate.closed_at is None:
        yield "submissions are not paused"
    else:
        yield f"submissions are paused since {gate.closed_at:%Y-%m-%d %H:%M} UTC: {gate.reason}"
        yield f"what to do: {_advice(report)}"


def _advice(report: Report) -> str:
    """Say what must be done before --confirm, if anything, and what --confirm does."""
    if report.gate is not None and report.gate.idle_since is not None:
        return (
            "find out why the bucket does not answer; submissions resume automatically within a minute after it does, "
            "unless it shows that this ledger is old"
        )
    confirm = (
        "`darkroom reconcile --confirm` imports the tasks that a Darkroom submitted and resumes submitting: everything "
        "that is still queued is submitted and paid for"
    )
    without = ", ".join(title_of(one.provider, one.account) for one in report.compared if not one.has_list)
    if not without or not report.queued:
        return confirm
    return (
        f"check {without}'s dashboard and `darkroom cancel` any queued generation that was already made there; then "
        f"{confirm}"
    )


def _of_provider(one: Compared) -> Iterator[str]:
    title = title_of(one.provider, one.account)
    if not one.has_list:
        yield f"{title}: unknown, it has no task list; check its dashboard"
    elif one.trouble:
        yield f"{title}: unknown, {one.trouble}"
    else:
        yield f"{title}: {one.tasks} {'task' if one.tasks == 1 else 'tasks'}, {one.known} of them in the ledger"
    for found in one.found[:_SHOWN]:
        danger = ": cancel it, or it will be paid for again" if found.state is State.QUEUED else ""
        yield f"  found: task {found.task_id} → {found.generation_id}, {found.state}{danger}"
    for is_ours, what in ((True, "submitted by a Darkroom, not in this ledger"), (False, "made elsewhere")):
        unknown = [task for task in one.unknown if task.is_ours is is_ours]
        if unknown:
            yield f"  unknown: {len(unknown)} {what}: {_ids([task.task_id for task in unknown])}"
        for task in [task for task in unknown if task.perhaps][:_SHOWN]:
            what_it_is = "is probably" if is_ours else "has the prompt of"
            yield f"    task {task.task_id} {what_it_is} {_ids(task.perhaps)}, still queued"


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{', '.join(ids[:_SHOWN])}{more}"
