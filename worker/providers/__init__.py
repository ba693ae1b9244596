"""The interface to providers; `registry.PROVIDERS` lists them."""

from worker.providers.base import Callback, Mark, Provider
from worker.providers.bodies import is_whole, json_body
from worker.providers.capability import Capability, Prompt
from worker.providers.inputs import input_reference, inputs_of, takes_only_links, with_inputs
from worker.providers.listing import Listed, ListedTask, Shown
from worker.providers.model_versions import Versions
from worker.providers.posts import posts_begun
from worker.providers.registry import PROVIDERS, account_keys, end_is_proven, load_provider, provider_class
from worker.providers.translation import check_follow_up

__all__ = [
    "PROVIDERS",
    "Callback",
    "Capability",
    "Listed",
    "ListedTask",
    "Mark",
    "Prompt",
    "Provider",
    "Shown",
    "Versions",
    "account_keys",
    "check_follow_up",
    "end_is_proven",
    "input_reference",
    "inputs_of",
    "is_whole",
    "json_body",
    "load_provider",
    "posts_begun",
    "provider_class",
    "takes_only_links",
    "with_inputs",
]
