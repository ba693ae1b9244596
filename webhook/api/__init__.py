"""The HTTP API (`/v1`): what people can do at the command line, for programs.

A request passes through `app.py` (authentication and scopes), one function of a resource's module, and a use case;
each answer is a document of `tasks/usecases/views/`, or a problem. `openapi.py` describes the API from the same routes,
and `make api-docs` writes that to `openapi.json`.
"""
