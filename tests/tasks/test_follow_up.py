"""What a follow-up is asked with: its parent's prompt, except where a video goes on better without one."""

import pytest

from tasks.children import child_of
from tests import factories
from worker.generation import Operation
from worker.ledger import Ledger


@pytest.mark.parametrize(
    ("provider", "action", "operation", "prompt"),
    [
        ("acedata", "upscale1", Operation.UPSCALE, "a red fox"),
        ("kie", "extend1", Operation.VIDEO_EXTEND, ""),
        # Its API does not extend a video without one.
        ("acedata", "extend1", Operation.VIDEO_EXTEND, "a red fox"),
    ],
)
def test_a_follow_up_has_the_prompt_that_suits_it(
    ledger: Ledger, provider: str, action: str, operation: Operation, prompt: str
):
    (parent,) = ledger.generations.create([factories.new("a red fox", provider=provider)])
    child = child_of(parent, action, ("upscale1",), dedupe=None)
    assert (child.request.operation, child.request.prompt) == (operation, prompt)
    assert (child.parent_id, child.depth, child.follow_up) == (parent.id, 1, ("upscale1",))
