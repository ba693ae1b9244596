"""The console inside the test's own process, asked by a browser on the same machine."""

from tests.webhook.api.conftest import app, client, rung, services_for

__all__ = ["app", "client", "rung", "services_for"]
