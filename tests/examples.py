"""How many examples Hypothesis tries of a property.

`make test` tries an eighth of them, `make test-system` runs the properties again with all. With
`TEST_FLAGS="-n 0 --hypothesis-profile long tests/worker/ledger/test_model.py"` it looks for minutes, and shortens
what fails.
"""

from hypothesis import HealthCheck, Phase, settings

#: the profiles, and how many times the number of examples they try
_SHARES = {"fast": 1 / 8, "thorough": 1.0, "long": 60.0}


def register() -> None:
    for name in _SHARES:
        settings.register_profile(
            name,
            # How long an example takes says more about the machine than about the code.
            deadline=None,
            max_examples=_examples(100, name),
            phases=_phases(name),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        )
    settings.load_profile("fast")


def examples(number: int) -> int:
    """As many of them as the profile tries."""
    return _examples(number, settings.get_current_profile_name())


def is_long() -> bool:
    return settings.get_current_profile_name() == "long"


def _phases(profile: str) -> list[Phase]:
    # To shorten what fails takes up to five minutes for each test: a run with one mistake would not end in time.
    return list(Phase) if profile == "long" else [Phase.explicit, Phase.reuse, Phase.generate]


def _examples(number: int, profile: str) -> int:
    return max(2, int(number * _SHARES[profile]))
