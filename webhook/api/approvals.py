"""/v1/approvals"""

import logging

from tasks.usecases import approvals as usecase
from tasks.usecases import views
from tasks.usecases.person import person
from webhook.api.call import Call, Reply
from webhook.api.models.approvals import ApprovalPage, ApprovalsQuery, ApprovalWithGeneration, DecidedApproval, Decision
from webhook.api.routes import Routes
from webhook.api.scopes import Scope

log = logging.getLogger(__name__)

routes = Routes("approvals")


@routes.get("/approvals", scope=Scope.APPROVALS_READ, answers={200: ApprovalPage}, problems=(422,))
def list_approvals(call: Call, query: ApprovalsQuery) -> Reply:
    """List what waits for a decision, oldest first."""
    page = usecase.pending_page(call.here, query.after, query.limit)
    return Reply(document={"data": [views.of_pending_approval(one) for one in page.approvals], "next": page.next})


@routes.get("/approvals/{id}", scope=Scope.APPROVALS_READ, answers={200: ApprovalWithGeneration}, problems=(404, 422))
def get_approval(call: Call, id: str) -> Reply:  # noqa: A002  the name of the path's parameter
    """Get one approval, even after it was decided.

    The id or key of a generation also works: it means its pending approval, or else its last one.
    """
    approval = usecase.find_approval(call.here, id)
    return Reply(document=views.of_pending_approval(usecase.with_generation(call.here, approval)))


# It needs no Idempotency-Key: after a decision, further requests change nothing.
@routes.post(
    "/approvals/{id}", scope=Scope.APPROVALS_WRITE, answers={200: DecidedApproval}, problems=(404, 409, 415, 422)
)
def decide_approval(call: Call, id: str, body: Decision) -> Reply:  # noqa: A002  likewise
    """Decide: pick images, with which the recipe continues, or reject all of them.

    Repeating the same decision changes nothing and is answered with `repeated`. 409: `already_decided` for a different
    decision, with who decided and when in its detail; or `expired` if nobody decided in time.
    """
    who = person(call.caller.by, body.why)
    done = usecase.reject(call.here, id, who) if body.pick is None else usecase.approve(call.here, id, body.pick, who)
    call.shared.ring(*done.wakes)
    if done.is_new:
        log.info("%s was %s; request %s", done.approval.id, usecase.in_words(done.approval), call.request_id)
    return Reply(document=views.of_approved(done))
