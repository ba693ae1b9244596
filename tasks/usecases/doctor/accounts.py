"""What `darkroom doctor` looks at in providers and their accounts: keys, credit, pace."""

from collections.abc import Iterator

from tasks.usecases.doctor.finding import Finding, Verdict
from worker.errors import ConfigurationError, QueryFailed
from worker.providers import PROVIDERS, Provider, provider_class
from worker.secrets import title_of
from worker.services import Services


def examine_keys(here: Services) -> Iterator[Finding]:
    """Each account of each provider, and what is known of its future; one provider is enough."""
    missing = {}
    for name in PROVIDERS:
        for account in here.accounts(name):
            title = title_of(name, account)
            try:
                provider = here.provider(name, account)
            except ConfigurationError as error:
                missing[title] = str(error)
            else:
                yield _credit(f"provider {title}", provider)
        if provider_class(name).notice and is_set_up(here, name):
            yield Finding("notices", Verdict.WARN, f"{name}: {provider_class(name).notice}")
    for title, sentence in missing.items():
        verdict = Verdict.OK if any(is_set_up(here, name) for name in PROVIDERS) else Verdict.FAIL
        yield Finding(f"provider {title}", verdict, sentence)


def is_set_up(here: Services, name: str) -> bool:
    try:
        here.provider(name)
    except ConfigurationError:
        return False
    return True


def _credit(check: str, provider: Provider) -> Finding:
    try:
        credit = provider.credit()
    except QueryFailed as error:
        return Finding(check, Verdict.WARN, f"has its key, but does not tell its credit: {error}")
    return Finding(check, Verdict.OK, "has its key" if credit is None else f"has its key, and {credit} left")


def examine_others(here: Services) -> Iterator[Finding]:
    """Generations of providers that this version does not know, and of accounts that have no key here."""
    for name, number in here.ledger.dispatch.open_at_others(PROVIDERS).items():
        message = f"this version knows no provider {name}, which {number} generations wait for or were submitted to"
        advice = "use a version that has it, or `darkroom cancel` those that wait"
        yield Finding("providers", Verdict.WARN, f"{message}: {advice}")
    known = {name: here.accounts(name) for name in PROVIDERS}
    for stranded in here.ledger.dispatch.unreachable(known):
        if stranded.provider not in PROVIDERS:
            continue
        numbers = ((stranded.under_way, "under way"), (stranded.waiting, "that can only go there"))
        what = " and ".join(f"{number} {where}" for number, where in numbers if number)
        account = stranded.account
        setting = provider_class(stranded.provider).key_setting
        advice = f"add it to {setting} as `{account}:KEY`"
        message = f"{stranded.provider} has no key here for its account {account}, which has {what}: {advice}"
        yield Finding("accounts", Verdict.WARN, message)
