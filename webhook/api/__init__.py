"""The HTTP API (`/v1`): what people can do at the command line, for programs.

A request goes through `app.py` (who asks, and what for), one function of a resource's module, and a use case; each
answer is a document of `tasks/usecases/views/`, or a problem. `openapi.py` describes all of it from the same routes,
and `make api-docs` keeps that as `openapi.json`.
"""
