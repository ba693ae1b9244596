"""`darkroom doctor` check of proxies: what goes through which proxy, and what connects directly."""

import os
from collections.abc import Iterator

from tasks.usecases.doctor.accounts import is_set_up
from tasks.usecases.doctor.finding import Finding, Verdict
from worker.net import is_reached_directly, proxies, proxy_for_url
from worker.providers import PROVIDERS, provider_class
from worker.services import Services
from worker.subscribers import webhooks


def examine_proxies(here: Services) -> Iterator[Finding]:
    """Yield one finding if the environment names a proxy, else none."""
    if not proxies():
        return
    ways: dict[str, dict[str, None]] = {}
    for what, url in _places(here):
        proxy = proxy_for_url(url)
        ways.setdefault(f"through {proxy}" if proxy else "directly", {})[what] = None
    store = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    proxy = proxy_for_url(store or "https://s3.amazonaws.com")
    is_direct = proxy is None or (store is not None and is_reached_directly(store))
    ways.setdefault("directly" if is_direct else f"through {proxy}", {})["the archive"] = None
    said = "; ".join(f"{way}: {', '.join(whats)}" for way, whats in sorted(ways.items(), reverse=True))
    unseen = "for downloads through a proxy, only the host is checked, not the address that the proxy connects to"
    yield Finding("proxy", Verdict.OK, f"{said}; {unseen}")


def _places(here: Services) -> Iterator[tuple[str, str]]:
    for name in PROVIDERS:
        if is_set_up(here, name):
            yield f"the API of {name}", getattr(here.settings, f"{provider_class(name).prefix}_base_url")
            for host in sorted(here.provider(name).result_hosts):
                yield f"results of {name}", host if "://" in host else f"https://{host}"
    urls = here.settings.darkroom_notify_urls
    for webhook in webhooks(urls.get_secret_value() if urls else ""):
        yield f"webhook {webhook.name}", webhook.url
