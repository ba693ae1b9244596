"""The domain: states, their moves, and what actions mean."""

import pytest

from worker.generation import FINAL, OPEN, TRANSITIONS, Operation, State, operation_of


def test_every_state_has_its_row_in_the_table():
    assert set(TRANSITIONS) == set(State)
    assert set(State) == FINAL | OPEN
    assert not FINAL & OPEN


def test_every_state_can_be_reached_from_the_first():
    reached, new = {State.QUEUED}, {State.QUEUED}
    while new:
        new = {to for source in new for to in TRANSITIONS[source]} - reached
        reached |= new
    assert reached == set(State)


def test_every_open_state_can_end():
    for state in OPEN:
        assert TRANSITIONS[state], state


def test_what_is_archived_stays_archived_until_a_person_deletes_it():
    assert TRANSITIONS[State.ARCHIVED] == {State.DELETED}
    assert TRANSITIONS[State.DELETED] == frozenset()


def test_no_state_moves_to_itself():
    assert not [state for state, to in TRANSITIONS.items() if state in to]


def test_submitting_is_entered_only_from_the_queue():
    """The one way to a POST."""
    assert [state for state, to in TRANSITIONS.items() if State.SUBMITTING in to] == [State.QUEUED]


def test_a_success_is_kept_wherever_the_generation_waits():
    """It was paid for. Only what has its assets already takes no other, and what a client has withdrawn."""
    takes = {state for state, to in TRANSITIONS.items() if State.SUCCEEDED in to}
    assert takes == set(State) - {State.SUCCEEDED, State.ARCHIVED, State.DELETED}


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        ("upscale1", Operation.UPSCALE),
        ("upscale_subtle", Operation.UPSCALE),
        ("redo_upscale_creative", Operation.UPSCALE),
        ("variation3", Operation.VARIATION),
        ("variation_strong", Operation.VARIATION),
        ("variation_region", Operation.REGION),
        ("reroll", Operation.REROLL),
        ("pan_left", Operation.PAN),
        ("zoom_out_1_5x", Operation.ZOOM),
        ("square", Operation.ZOOM),
        ("teleport", None),
        ("", None),
        ("downscale1", None),
        ("upscale9", None),
    ],
)
def test_an_action_belongs_to_an_operation(action: str, operation: Operation | None):
    assert operation_of(action) is operation
