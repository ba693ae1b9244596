"""Which follow-ups an image offers."""

from webhook.sandbox.pictures import is_grid

GRID_ACTIONS = (
    "upscale1",
    "upscale2",
    "upscale3",
    "upscale4",
    "reroll",
    "variation1",
    "variation2",
    "variation3",
    "variation4",
)
SINGLE_ACTIONS = (
    "upscale_2x",
    "upscale_4x",
    "variation_subtle",
    "variation_strong",
    "zoom_out_2x",
    "zoom_out_1_5x",
    "pan_left",
    "pan_right",
    "pan_up",
    "pan_down",
)


def offered_actions(action: str) -> tuple[str, ...]:
    """Return the actions, by the action that made the image."""
    return GRID_ACTIONS if is_grid(action) else SINGLE_ACTIONS
