"""`darkroom doctor` checks of providers and their accounts: keys, credit, limits."""

from collections.abc import Iterator
from functools import partial

from tasks.usecases.doctor.finding import Finding, Verdict
from tasks.usecases.doctor.parallel import Check
from worker.errors import ConfigurationError, ProviderNotSet, QueryFailed
from worker.providers import PROVIDERS, provider_class
from worker.secrets import SANDBOX_ACCOUNT, title_of
from worker.services import Services

#: seconds for one provider
_CREDIT_TIMEOUT = 3.5
#: how providers reject a key: as HTTP status, or as the code in a body
_REFUSED = {"401", "403"}


def key_checks(here: Services) -> Iterator[Check]:
    """Yield a check for each account of each provider; one provider is enough."""
    for name in PROVIDERS:
        for account in here.accounts(name):
            check = f"provider {title_of(name, account)}"
            look = partial(_key, here, check, name, account)
            yield Check(check, look, seconds=_CREDIT_TIMEOUT, late=Verdict.WARN)


def _key(here: Services, check: str, name: str, account: str) -> Iterator[Finding]:
    try:
        provider = here.provider(name, account)
    except ProviderNotSet as error:
        if any(is_set_up(here, other) for other in PROVIDERS):
            yield Finding(check, Verdict.OK, f"not used: {error.setting} is not set")
        else:
            yield Finding(check, Verdict.FAIL, f"{error}; one provider is enough")
        return
    except ConfigurationError as error:
        yield Finding(check, Verdict.FAIL, str(error))
        return
    try:
        credit = provider.credit()
    except QueryFailed as error:
        if {str(error.status), str(error.code)} & _REFUSED:
            sentence = f"refuses this key: correct {provider_class(name).key_setting}, and restart the workers"
            yield Finding(check, Verdict.FAIL, f"{sentence} ({error})")
        else:
            yield Finding(check, Verdict.WARN, f"key set, balance unavailable: {error}")
    else:
        yield Finding(check, Verdict.OK, "key set" if credit is None else f"key set, {credit} left")


def examine_notices(here: Services) -> Iterator[Finding]:
    """Report announced changes of the providers in use."""
    for name in PROVIDERS:
        if provider_class(name).notice and is_set_up(here, name):
            yield Finding("notices", Verdict.WARN, f"{name}: {provider_class(name).notice}")


def require_a_provider(here: Services) -> None:
    """Raise ConfigurationError if no provider is set up, or one is set up wrongly; tests need only the sandbox."""
    unset = []
    for name in PROVIDERS:
        try:
            for account in here.accounts(name):
                here.provider(name, account)
        except ProviderNotSet as error:
            unset.append(error.setting)
    if len(unset) == len(PROVIDERS) and here.settings.darkroom_sandbox_url is None:
        settings = f"{', '.join(unset[:-1])} or {unset[-1]}"
        raise ConfigurationError(
            f"no provider is set up: set {settings}, or run `darkroom init`, which asks for it; for tests alone, "
            "start `darkroom sandbox` and set DARKROOM_SANDBOX_URL to its address"
        )


def is_set_up(here: Services, name: str) -> bool:
    try:
        here.provider(name)
    except ConfigurationError:
        return False
    return True


def examine_others(here: Services) -> Iterator[Finding]:
    """Report generations at providers unknown to this version, and of accounts without a key."""
    for name, number in here.ledger.dispatch.open_at_others(PROVIDERS).items():
        message = f"{number} generations are at provider {name}, which this version does not know"
        advice = "use a version that supports it, or `darkroom cancel` the queued ones"
        yield Finding("providers", Verdict.WARN, f"{message}: {advice}")
    known = {name: here.accounts(name) for name in PROVIDERS}
    for stranded in here.ledger.dispatch.unreachable(known):
        if stranded.provider not in PROVIDERS:
            continue
        numbers = ((stranded.under_way, "in progress"), (stranded.waiting, "queued"))
        what = " and ".join(f"{number} {where}" for number, where in numbers if number)
        account = stranded.account
        if account == SANDBOX_ACCOUNT:
            # The sandbox has its own finding.
            continue
        setting = provider_class(stranded.provider).key_setting
        advice = f"add it to {setting} as `{account}:KEY`"
        message = f"{stranded.provider} has no key for account {account}, which has open generations ({what}): {advice}"
        yield Finding("accounts", Verdict.WARN, message)
