"""/v1/providers"""

from tasks.usecases import views
from tasks.usecases.providers import describe_providers
from webhook.api.call import Call, Refused, Reply
from webhook.api.models.providers import ProviderDocument, ProviderList
from webhook.api.routes import Routes
from webhook.api.scopes import Scope

routes = Routes("providers")


@routes.get("/providers", scope=Scope.GENERATIONS_READ, answers={200: ProviderList})
def list_providers(call: Call) -> Reply:
    """List the providers, with their capabilities, options and the state of their accounts."""
    data = [views.of_provider(one) for one in describe_providers(call.here)]
    return Reply(document={"data": data, "next": None})


@routes.get("/providers/{name}", scope=Scope.GENERATIONS_READ, answers={200: ProviderDocument}, problems=(404,))
def get_provider(call: Call, name: str) -> Reply:
    """Get one provider."""
    found = [one for one in describe_providers(call.here) if one.name == name]
    if not found:
        raise Refused(f"there is no provider {name!r}: GET /v1/providers lists them", status=404, code="not_found")
    return Reply(document=views.of_provider(found[0]))
