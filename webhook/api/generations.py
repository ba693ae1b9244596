"""/v1/generations"""

from tasks.usecases import queries, views
from webhook.api.call import Call, Reply
from webhook.api.models.generations import GenerationDocument
from webhook.api.routes import Routes
from webhook.api.scopes import Scope

routes = Routes("generations")


@routes.get("/generations/{id}", scope=Scope.GENERATIONS_READ, answers={200: GenerationDocument}, problems=(404,))
def get_generation(call: Call, id: str) -> Reply:  # noqa: A002  the name of the path's parameter
    """Get one generation with its assets, attempts and callbacks."""
    return Reply(document=views.of_details(queries.show(call.here, id)))
