"""What a scrape of `/metrics` reads, with a time-out: a hung database or broker must not block it."""

from collections.abc import Sequence
from functools import partial

from tasks.usecases.metrics import OF_BROKER, OF_LEDGER, Part, Readings, read_parts
from webhook.health import Dependency
from worker.services import Services

#: seconds that a scrape waits for each; Prometheus times out after ten
PATIENCE = 4.0


class Scrapes:
    """The scrapes of one process: scrapes that are concurrent or within two seconds share one read."""

    def __init__(self, here: Services) -> None:
        self._here = here
        self._asked = [self._source(OF_LEDGER, is_ledger=True), self._source(OF_BROKER)]

    def read(self) -> Readings:
        for one in self._asked:
            one.ask()
        return {name: samples for one in self._asked for name, samples in one.finding().items()}

    def _source(self, parts: Sequence[Part], *, is_ledger: bool = False) -> Dependency[Readings]:
        nothing: Readings = {}
        reconnect = self._here.ledger.close if is_ledger else None
        return Dependency(partial(read_parts, self._here, parts), nothing, reconnect, who="/metrics", patience=PATIENCE)
