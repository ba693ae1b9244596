import pytest
from PIL import Image, ImageChops

from tests.webhook.sandbox.helpers import Client, open_picture
from webhook.sandbox.pictures import Picture, follow_up, render


def test_raw_and_thumbnail_are_pngs_of_the_promised_size(client: Client):
    made = client.made("a red fox in the snow")
    for link, side in ((made["raw_image_url"], made["raw_image_width"]), (made["image_url"], made["image_width"])):
        picture = open_picture(client.get(link).data)
        assert picture.format == "PNG"
        assert picture.size == (side, side)


def test_a_link_gives_the_same_bytes_each_time(client: Client):
    link = client.made("a red fox")["raw_image_url"]
    assert client.get(link).data == client.get(link).data


def test_different_prompts_and_different_tasks_look_different(client: Client):
    links = [client.made(prompt)["raw_image_url"] for prompt in ("a red fox", "the old harbour", "a red fox")]
    assert len({open_picture(client.get(link).data).tobytes() for link in links}) == 3


@pytest.mark.parametrize(
    "prompt", ["sea", "city", "space", "forest", "mountain", "qwertz", "猫", "x" * 3000, "a\0b", "- . \n '"]
)
@pytest.mark.parametrize("side", [1, 2, 63, 64, 300])
def test_every_prompt_can_be_drawn_at_every_size(prompt: str, side: int):
    assert open_picture(render(Picture(prompt=prompt, seed=7), side, prompt)).size == (side, side)


@pytest.mark.parametrize("quadrant", [1, 2, 3, 4])
def test_an_upscale_shows_the_chosen_quadrant(quadrant: int):
    grid = open_picture(render(Picture(prompt="a red fox", seed=7), 512, ""))
    large = open_picture(render(follow_up(Picture(prompt="a red fox", seed=7), f"upscale{quadrant}", "", 8), 256, ""))
    # The sky and the hills, without the writing.
    same = _middle(_quadrant(grid, quadrant))
    others = [_middle(_quadrant(grid, other)) for other in (1, 2, 3, 4) if other != quadrant]
    assert _difference(_middle(large), same) == 0
    assert all(_difference(_middle(large), other) > 0 for other in others)


def test_split_images_gives_the_four_quadrants(client: Client):
    made = client.made("a red fox", split_images=True)
    assert len(made["sub_image_urls"]) == 4
    grid = open_picture(client.get(made["raw_image_url"]).data)
    for number, link in enumerate(made["sub_image_urls"], start=1):
        part = open_picture(client.get(link).data)
        assert part.size == (64, 64)
        assert _difference(_middle(part), _middle(_quadrant(grid, number))) == 0


def test_zooming_out_and_panning_show_more_of_the_same_scene():
    single = follow_up(Picture(prompt="a red fox", seed=7), "upscale1", "", 8)
    wide = follow_up(single, "zoom_out_2x", "", 9)
    assert wide.camera.zoom == 2
    assert follow_up(wide, "zoom_out_2x", "", 9).camera.zoom == 4
    assert follow_up(single, "pan_left", "", 9).camera.x < 0.5 < follow_up(single, "pan_right", "", 9).camera.x
    assert render(wide, 256, "") != render(single, 256, "")


def test_tiny_pictures_stay_below_a_kilobyte(client: Client):
    made = client.made("tiny: " + "a long prompt " * 40)
    data = client.get(made["raw_image_url"]).data
    assert len(data) <= 1024
    assert open_picture(data).size == (16, 16)
    assert made["raw_image_width"] == 16


def test_the_file_carries_its_prompt_as_midjourneys_do(client: Client):
    made = client.made("a red fox sandbox:drop")
    picture = open_picture(client.get(made["raw_image_url"]).data)
    assert picture.info["Description"].startswith("a red fox Job ID: ")


def _quadrant(grid: Image.Image, number: int) -> Image.Image:
    half = grid.width // 2
    left, top = (number - 1) % 2 * half, (number - 1) // 2 * half
    return grid.crop((left, top, left + half, top + half))


def _middle(frame: Image.Image) -> Image.Image:
    side = frame.width
    return frame.crop((side // 3, side // 3, side * 2 // 3, side // 2))


def _difference(one: Image.Image, other: Image.Image) -> int:
    return max(most for _, most in ImageChops.difference(one, other).getextrema())
