"""Follow-ups of a success."""

from worker.recipes.follow_up_expression import FollowUp, expand, parse_follow_ups, steps_of

__all__ = [
    "FollowUp",
    "expand",
    "parse_follow_ups",
    "steps_of",
]
