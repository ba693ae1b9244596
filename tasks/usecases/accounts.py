"""The accounts of each provider: their health, their load, and pauses by a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.shown import shown
from tasks.usecases.person import Person
from tasks.usecases.providers import AccountFacts, describe_providers, require_provider
from tasks.usecases.services import LedgerServices
from worker.errors import ConfigurationError, QueryFailed
from worker.ledger.dispatch import Limits
from worker.providers import account_keys, provider_class
from worker.services import Services

__all__ = ["AccountFacts", "ListedAccount", "credit_of", "list_accounts", "pause"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAccount:
    """An account.

    `full_rate`: submissions per second when nothing slows it down; `capacity`: maximum of `in_flight`.
    """

    provider: str
    title: str
    facts: AccountFacts
    full_rate: float
    in_flight: int
    capacity: int


def list_accounts(here: LedgerServices) -> Sequence[ListedAccount]:
    """Return the accounts of all providers that are set up."""
    in_flight = here.ledger.dispatch.in_flight()
    return [
        ListedAccount(
            provider=provider.name,
            title=provider.title,
            facts=facts,
            full_rate=provider.rate,
            in_flight=in_flight.get((provider.name, facts.account), 0),
            capacity=provider.in_flight,
        )
        for provider in describe_providers(here)
        for facts in provider.accounts or ()
    ]


def pause(here: LedgerServices, provider: str, account: str, person: Person) -> datetime:
    """Pause the account for an hour, the longest pause; return its end. `control.resume` ends it sooner.

    Raises ConfigurationError for an account that is not set up.
    """
    require_provider(provider)
    known = account_keys(provider, here.settings)
    if account not in known:
        raise ConfigurationError(
            f"{provider} has no account {shown(account)!r}; configured: {', '.join(known) or 'none'}"
        )
    prefix = provider_class(provider).prefix
    rate, in_flight = (getattr(here.settings, f"{prefix}_{limit}") for limit in ("rate", "in_flight"))
    return here.ledger.dispatch.pause_account(provider, account, Limits(rate, in_flight), person.name)


def credit_of(here: Services, provider: str, account: str) -> str:
    """Return the account's credit according to the provider; a sentence if it does not say.

    Raises ConfigurationError.
    """
    require_provider(provider)
    try:
        left = here.provider(provider, account).credit()
    except QueryFailed as error:
        return f"the balance is currently unavailable: {error}"
    return "this provider does not report a balance" if left is None else f"{left} left"
