"""What the demo asks for: twelve pictures, four of them with follow-ups, 25 charges in all."""

from worker.generation import GenerationRequest, Operation
from worker.ledger.creation import NewGeneration

BATCH = "demo"

#: the key becomes the name of the picture's folder
_WISHES = (
    ("lighthouse", "a lighthouse that reads bedtime stories to passing ships, gouache", ("upscale1", "upscale3")),
    ("fox", "a fox in a raincoat waiting for the last night train in an autumn forest", ("upscale:all",)),
    ("observatory", "an observatory on a sleeping volcano, first stars, long exposure",
     ("upscale2/zoom_out_2x", "upscale4/pan_left")),
    ("teahouse", "a tea house between two waterfalls, ukiyo-e, mist", ("variation2", "upscale1", "reroll")),
    ("whale", "a whale of clouds swimming over a harbour at dawn", ()),
    ("library", "a city whose skyline is a shelf of old books, warm windows, light rain", ()),
    ("astronaut", "an astronaut planting a lemon tree on a small moon", ()),
    ("owl", "an owl who repairs clocks, candle light, macro photograph", ()),
    ("dunes", "sand dunes folded like origami under a violet sky", ()),
    ("tram", "a yellow tram climbing into the northern lights, neon reflections", ()),
    ("castle", "a snow castle built by very serious children, drone view", ()),
    ("bees", "a garden at night where the bees carry lanterns, storybook illustration", ()),
)  # fmt: skip


def wishes(provider: str) -> list[NewGeneration]:
    return [
        NewGeneration(
            provider,
            GenerationRequest(Operation.IMAGINE, prompt),
            key=key,
            dedupe=f"key:{key}",
            follow_up=follow_up,
        )
        for key, prompt, follow_up in _WISHES
    ]
