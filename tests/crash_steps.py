"""The named steps of each task at which its worker may die."""

from tests.crashing import Step

OUTCOMES, FLUSH = "worker.ledger.outcome.outcomes", ("worker.ledger.changes", "Changes.flush")
SUBMISSIONS, INBOX = "worker.ledger.submission.submissions", "worker.ledger.outcome.callbacks"
ARCHIVING, RECORDING = "worker.ledger.assets.archiving", "worker.ledger.assets.recording"
FOLLOWING = "worker.ledger.generations.follow_ups"
#: one statement of a group that is written; `turn` counts all of them that the process sends
STATEMENT = ("worker.ledger.statements.bulk", "_Statement.execute")
ACEDATA, BUCKET = "worker.providers.acedata", "worker.archive.s3"

SUBMIT = {
    "before its claim": Step("before", SUBMISSIONS, "Submissions.claim"),
    "its claim written but not committed": Step("after", *FLUSH),
    "claimed and nothing sent": Step("after", SUBMISSIONS, "Submissions.claim"),
    "right before the POST": Step("before", ACEDATA, "AceDataCloud.submit"),
    "the reply not read": Step("after", "worker.providers.connection", "FreshConnections.send"),
    "the reply not recorded": Step("after", ACEDATA, "AceDataCloud.submit"),
    "its record decided and not written": Step("after", SUBMISSIONS, "_settle"),
    # Two are its claim's.
    "its attempt written and not its generation": Step("after", *STATEMENT, turn=3),
    "its record committed": Step("after", SUBMISSIONS, "Submissions.record"),
}
INGEST = {
    "before its claim": Step("before", INBOX, "Callbacks.claim"),
    "claimed": Step("after", INBOX, "Callbacks.claim"),
    "the callback read": Step("after", ACEDATA, "AceDataCloud.parse_callback"),
    "its outcome decided and not written": Step("after", OUTCOMES, "_apply"),
    "its links and its generation written and not its attempt": Step("after", *STATEMENT, turn=2),
    "its verdict written and not its history": Step("after", *STATEMENT, turn=4),
    "its outcome committed": Step("after", OUTCOMES, "Outcomes.apply_outcomes"),
}
ARCHIVE = {
    "before its claim": Step("before", ARCHIVING, "Archiving.claim"),
    "claimed": Step("after", ARCHIVING, "Archiving.claim"),
    "downloaded": Step("after", "tasks.archive", "inspect"),
    "stored": Step("after", BUCKET, "S3Archive.store"),
    "described": Step("after", BUCKET, "S3Archive.overwrite"),
    "its record decided and not written": Step("after", RECORDING, "_finish"),
    "its assets written and not its generation": Step("after", *STATEMENT, turn=1),
    "its record committed": Step("after", RECORDING, "Recording.record"),
}
FOLLOW_UP = {
    "before its look": Step("before", FOLLOWING, "FollowUps.due_follow_ups"),
    "its parent found": Step("after", FOLLOWING, "FollowUps.due_follow_ups"),
    "the children not committed": Step("after", *FLUSH),
    "the children committed": Step("after", FOLLOWING, "FollowUps.create_follow_ups"),
}
#: as FOLLOW_UP, by a recipe; a `turn` for each generation and moment
RECIPE = {
    "before its look": Step("before", FOLLOWING, "FollowUps.due_steps"),
    "its parents found": Step("after", FOLLOWING, "FollowUps.due_steps"),
    "the children written and nobody asked": Step("after", FOLLOWING, "create_within"),
    "somebody asked and nothing told": Step("after", FOLLOWING, "ask"),
    "the first not committed": Step("after", *FLUSH),
    "the first committed": Step("after", FOLLOWING, "FollowUps.create_follow_ups"),
}
#: of those that follow several parents in one look
MORE = {
    "the second not committed": Step("after", *FLUSH, turn=2),
    "the second committed": Step("after", FOLLOWING, "FollowUps.create_follow_ups", turn=2),
}
APPROVING = "worker.ledger.approvals.approvals"
DECIDE = {
    "decided and not written": Step("before", APPROVING, "Approvals.decide"),
    "its children written": Step("after", APPROVING, "create_within"),
    "not committed": Step("after", *FLUSH),
    "committed": Step("after", APPROVING, "Approvals.decide"),
}
TIMEOUT = {
    "before its look": Step("before", APPROVING, "Approvals.overdue"),
    "found": Step("after", APPROVING, "Approvals.overdue"),
    **DECIDE,
}
SPLIT = {
    "the grid cut": Step("after", "tasks.splitting", "cut_grid"),
    "one quarter stored": Step("after", BUCKET, "S3Archive.store"),
    "three quarters stored": Step("after", BUCKET, "S3Archive.store", turn=3),
    "its record decided and not written": Step("after", RECORDING, "_finish"),
    "its record committed": Step("after", RECORDING, "Recording.record"),
}
NOTIFYING = "worker.ledger.events.deliveries"
#: `turn`s as for the first delivery: nothing lined up yet, lined up and taken, recorded and the next one taken
NOTIFY = {
    "before its claim": Step("before", NOTIFYING, "Deliveries.claim"),
    "claimed": Step("after", NOTIFYING, "Deliveries.claim"),
    "the events lined up": Step("after", NOTIFYING, "Deliveries.enqueue_new"),
    "an event taken and not sent": Step("after", NOTIFYING, "Deliveries.record_and_claim_next", turn=2),
    "sent and not recorded": Step("before", "tasks.notify", "Handed"),
    "its record not committed": Step("after", NOTIFYING, "_replies"),
    "its record committed": Step("after", NOTIFYING, "Deliveries.record_and_claim_next", turn=3),
    "before its release": Step("before", NOTIFYING, "Deliveries.release"),
}
WATCHING = "worker.ledger.submission.polling"
POLL = {
    "before its claim": Step("before", WATCHING, "Polling.claim_polls"),
    "claimed and nobody asked": Step("after", WATCHING, "Polling.claim_polls"),
    "the answer not applied": Step("after", ACEDATA, "AceDataCloud.fetch"),
    "its outcome not committed": Step("after", OUTCOMES, "_apply"),
    "its outcome committed": Step("after", OUTCOMES, "Outcomes.apply_outcomes"),
    "the next question noted": Step("after", WATCHING, "Polling.record_polled"),
}
MANIFESTS = "worker.ledger.assets.manifests"
MANIFEST = {
    "before its claim": Step("before", MANIFESTS, "Manifests.claim_manifest"),
    "claimed": Step("after", MANIFESTS, "Manifests.claim_manifest"),
    "written and not recorded": Step("after", BUCKET, "S3Archive.store"),
    "its record committed": Step("after", MANIFESTS, "Manifests.record_manifest"),
}
RECONCILE = {
    "before the dead are looked for": Step("before", SUBMISSIONS, "Submissions.mark_lost_unconfirmed"),
    "the dead found and not committed": Step("after", *FLUSH),
    "the dead found": Step("after", SUBMISSIONS, "Submissions.mark_lost_unconfirmed"),
    "before the bells": Step("before", "tasks.sweep", "ring"),
    "the bells rung": Step("after", "tasks.sweep", "ring"),
}
