"""What happened to a submitted file, for the user."""

from tasks.cli.ui.output import many, note, one_line
from tasks.usecases.batches.submit import BatchSubmitted
from tasks.usecases.names import short_id
from worker.secrets import redact


def tell_submitted(result: BatchSubmitted) -> None:
    what = f"{one_line(result.name)}{f' ({short_id(result.batch_id)})' if result.batch_id else ''}"
    is_dry = result.is_dry_run
    for other in result.same_file:
        note(
            f"the same file was submitted before as {one_line(other.name)} ({short_id(other.id)}); "
            f"{one_line(result.name)} is another batch"
        )
    versions = f", including {many(result.versions, 'new version')}" if result.versions else ""
    note(f"{'dry run: ' if is_dry else ''}{result.created:,} new{versions}, {result.existing:,} already in {what}")
    if result.invalid:
        note(f"{many(result.invalid, 'row')} invalid, not submitted")
    if result.unapplied:
        note(f"not applied to the existing batch: {one_line(redact('; '.join(result.unapplied)))}")
    for sentence in result.waits:
        note(sentence)
    if result.created and not is_dry:
        note(f"follow it with `darkroom batch watch {one_line(result.name)}`")
