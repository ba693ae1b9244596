"""What `darkroom doctor` says of proxies: which of them holds for what, and what goes out directly."""

import os
from collections.abc import Iterator

from tasks.usecases.doctor.accounts import is_set_up
from tasks.usecases.doctor.finding import Finding, Verdict
from worker.net import is_reached_directly, proxies, proxy_for_url
from worker.providers import PROVIDERS, provider_class
from worker.services import Services
from worker.subscribers import webhooks


def examine_proxies(here: Services) -> Iterator[Finding]:
    """One finding where the environment names a proxy, none where it does not."""
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
    unseen = "of a download through a proxy the host is checked, but not the address that the proxy connects to"
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
