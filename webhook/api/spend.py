"""/v1/spend"""

from datetime import timedelta

from tasks.usecases import views
from tasks.usecases.spend import SpendRequest, read_dimensions, spend
from webhook.api.call import Call, Reply
from webhook.api.labels import labels_of
from webhook.api.models.spend import SpendDocument, SpendQuery
from webhook.api.routes import Routes
from webhook.api.scopes import Scope

routes = Routes("spend")


@routes.get("/spend", scope=Scope.SPEND_READ, answers={200: SpendDocument}, problems=(422,))
def get_spend(call: Call, query: SpendQuery) -> Reply:
    """Get what generations cost or may still cost, and what each budget has left.

    known: paid. possible: the outcome is unknown, and the provider may have charged. reserved: in progress. All three
    count against a cap. Amounts are decimal strings, in `currency`.
    """
    request = SpendRequest(
        read_dimensions(query.by), query.first or timedelta(days=30), labels_of(query.label), query.last
    )
    return Reply(document=views.of_spending(spend(call.here, request)))
