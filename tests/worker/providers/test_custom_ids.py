"""Buttons of Midjourney's Discord bot and the action words they stand for."""

import pytest

from tests.worker.providers.dialects.ohmygpt import ACTIONS
from worker.generation import operation_of
from worker.providers.discord.custom_ids import action_of, buttons_of
from worker.providers.mjproxy import MidjourneyProxy


@pytest.mark.parametrize(("action", "custom_id"), ACTIONS.items())
def test_each_button_has_one_of_our_words(action, custom_id):
    assert action_of(custom_id) == action


def test_there_is_a_button_for_every_action_of_the_table():
    table = {action for capability in MidjourneyProxy.capabilities.values() for action in capability.actions}

    assert table == ACTIONS.keys()


@pytest.mark.parametrize("action", ACTIONS)
def test_each_word_belongs_to_the_operation_that_has_it_in_the_table(action):
    operation = operation_of(action)

    assert operation is not None
    assert action in MidjourneyProxy.capabilities[operation].actions


@pytest.mark.parametrize(
    ("custom_id", "action"),
    [
        ("MJ::JOB::upsample_v7_2x_subtle::1::0b33153d::SOLO", "upscale_subtle"),
        ("MJ::JOB::upsample_v8.1_2x_creative::1::0b33153d::SOLO", "upscale_creative"),
        ("MJ::CustomZoom::1::0b33153d", "zoom_custom"),
        ("MJ::JOB::upsample::5::0b33153d", None),
        ("MJ::JOB::upsample::1::", None),
        ("xMJ::JOB::upsample::1::0b33153d", None),
        ("MJ::BOOKMARK::0b33153d", None),
        ("MJ::Outpaint::60::1::0b33153d::SOLO", None),
        ("MJ::JOB::animate_high::1::0b33153d::SOLO", None),
        ("MJ::Job::PicReader::1", None),
        ("", None),
    ],
)
def test_other_buttons(custom_id, action):
    assert action_of(custom_id) == action


def test_the_buttons_of_a_task_become_actions_in_their_order():
    buttons = [{"customId": ACTIONS[action], "label": "", "emoji": ""} for action in ("reroll", "upscale2", "square")]

    assert buttons_of(buttons) == {action: ACTIONS[action] for action in ("reroll", "upscale2", "square")}


@pytest.mark.parametrize(
    "buttons",
    [
        None,
        "U1",
        {"customId": "MJ::Inpaint::1::a"},
        [None, 5, "U1", [], {}],
        [{"customId": None}, {"customId": 5}, {"customId": ["MJ::Inpaint::1::a"]}],
        [{"customId": "MJ::Inpaint::1::\x00"}, {"customId": "MJ::Inpaint::1::\ud800"}],
        [{"customId": f"MJ::Inpaint::{'a' * 300}"}],
    ],
)
def test_what_is_no_button_offers_nothing(buttons):
    assert buttons_of(buttons) == {}


def test_of_two_buttons_for_one_action_the_first_counts():
    buttons = [{"customId": "MJ::Inpaint::1::first"}, {"customId": "MJ::Inpaint::1::second"}]

    assert buttons_of(buttons) == {"variation_region": "MJ::Inpaint::1::first"}
