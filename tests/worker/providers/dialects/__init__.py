"""The wire facts of each provider that the contract tests need: one file per provider, one line here."""

from tests.worker.providers.dialects import acedata, kie, mjproxy, ohmygpt
from tests.worker.providers.dialects.dialect import Dialect

DIALECTS: dict[str, Dialect] = {
    "acedata": acedata.DIALECT,
    "kie": kie.DIALECT,
    "ohmygpt": ohmygpt.DIALECT,
    "mjproxy": mjproxy.DIALECT,
}
