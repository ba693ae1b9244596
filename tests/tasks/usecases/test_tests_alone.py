"""One machine needs no provider's key for tests alone."""

from contextlib import closing

import pytest

from tasks.usecases.doctor.accounts import require_a_provider
from worker.errors import ConfigurationError
from worker.services import Services
from worker.settings.settings import Settings


def test_the_sandbox_is_enough_where_no_provider_is_set_up(sqlite_url: str) -> None:
    with (
        closing(Services(Settings(database_url=sqlite_url))) as here,
        pytest.raises(ConfigurationError, match="for tests alone, start `darkroom sandbox`"),
    ):
        require_a_provider(here)
    with closing(Services(Settings(database_url=sqlite_url, darkroom_sandbox_url="http://127.0.0.1:9000"))) as here:
        require_a_provider(here)
