"""What the gallery asks: by any filter, every generation once, and no more rows than it says."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select, text, update

from tests.examples import examples
from tests.factories import new
from worker.generation import Generation, Operation, State
from worker.ledger import Ledger
from worker.ledger.generations import Wanted, gallery
from worker.ledger.generations.likeness import Words, has_words, is_like, parameters_of, pattern_of_key, words_of
from worker.ledger.schema import generations

pytestmark = pytest.mark.matrix

RESULTS = (State.EXPIRED, State.SUCCEEDED, State.ARCHIVED)
KEPT = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_true(ledger: Ledger, condition, **parameters: object) -> bool:
    with ledger.database.read() as connection:
        return bool(connection.execute(select(literal(1)).where(condition), parameters).scalar())


@KEPT
@example(pattern="[!^-]", key="-")
@example(pattern="[]-]", key="]")
@example(pattern="[^]", key="^")
@example(pattern="[b-a]", key="a")
@example(pattern="a*", key="a\nb")
@given(pattern=st.text("ab]-[!^*?é\\.", max_size=8), key=st.text("ab]-[!^*?é\\.\n", max_size=6))
def test_a_key_is_like_a_pattern_exactly_where_fnmatch_says_so(ledger: Ledger, pattern: str, key: str) -> None:
    is_sqlite = ledger.database.is_sqlite
    condition = is_like(literal(key), "pattern", is_sqlite=is_sqlite)
    found = is_true(ledger, condition, pattern=pattern_of_key(pattern, is_sqlite=is_sqlite))
    assert found is fnmatchcase(key, pattern)


def cases(letter: str) -> set[str]:
    every = {letter, letter.lower(), letter.upper(), letter.title(), letter.casefold()}
    return {one for one in every if len(one) == 1}


def has(prompt: str, words: str) -> bool:
    """As the search is documented: each letter in either of its cases, no letter as several."""
    ends = range(len(prompt) - len(words) + 1)
    return any(all(prompt[at + place] in cases(letter) for place, letter in enumerate(words)) for at in ends)


@KEPT
@example(words="éж", prompt="a ÉЖ b")
@example(words="É", prompt="é")
@example(words="ß", prompt="SS")
@example(words="%", prompt="100 per cent")
@example(words="_", prompt="é")
@given(words=st.text("aBéÖßж%_\\[*^'", min_size=1, max_size=4), prompt=st.text("aAbBéÉöÖßжЖ%_\\[*^' ", max_size=12))
def test_words_are_found_in_upper_and_lower_case_of_every_alphabet(ledger: Ledger, words: str, prompt: str) -> None:
    is_sqlite = ledger.database.is_sqlite
    known = words_of(words, is_sqlite=is_sqlite)
    conditions = has_words(literal(prompt), known, "words", is_sqlite=is_sqlite)
    with ledger.database.read() as connection:
        query = select(literal(1)).where(*conditions)
        found = bool(connection.execute(query, parameters_of(known, "words")).scalar())
    assert found is has(prompt, words)


def test_words_with_few_letters_beyond_ascii_need_no_second_question() -> None:
    """At a million generations, it was the slowest of all filters on PostgreSQL."""
    assert words_of("Café", is_sqlite=False) == Words(("%CafÉ%", "%Café%"), None)
    assert words_of("été", is_sqlite=True).exactly is None
    assert words_of("жар-птица", is_sqlite=False).exactly is not None


STATES = (State.ARCHIVED, State.ARCHIVED, State.SUCCEEDED, State.EXPIRED, State.FAILED, State.QUEUED)


@pytest.fixture
def filled(ledger: Ledger) -> dict[str, tuple[Generation, str | None, dict[str, str]]]:
    """Generations of all kinds, each with the key of its first ancestor and its labels."""
    found: dict[str, tuple[Generation, str | None, dict[str, str]]] = {}
    roots: list[Generation] = []
    for number in range(40):
        labels = {"client": "acme" if number % 3 else "beta"} | ({"rush": "yes"} if number % 7 == 0 else {})
        facts = {
            "prompt": f"A Fox in COLOUR {number % 5}, café",
            "provider": "kie" if number % 4 == 0 else "acedata",
            "key": f"{'B' if number % 2 else 'C'}-{number}" if number % 5 else None,
            "labels": labels,
        }
        if number % 6 == 5:
            parent = roots[number % len(roots)]
            facts |= {"parent_id": parent.id, "batch_id": parent.batch_id, "key": None}
            (one,) = ledger.generations.create([new(**facts)])
            found[one.id] = (one, parent.key, found[parent.id][2] | labels)
        else:
            (one,) = ledger.generations.create([new(**facts)], ("spring", "autumn", None)[number % 3])
            roots.append(one)
            found[one.id] = (one, one.key, labels)
    with ledger.database.write() as connection:
        for number, id_ in enumerate(sorted(found)):
            changed = {"state": STATES[number % len(STATES)]}
            if number % 8 == 0:
                changed["operation"] = Operation.UPSCALE
            connection.execute(update(generations).where(generations.c.id == id_).values(changed))
    known = {one.id: one for one in ledger.generations.get(sorted(found))}
    return {id_: (known[id_], root, labels) for id_, (_, root, labels) in found.items()}


def matches(wanted: Wanted, of: Generation, root_key: str | None, labels: dict[str, str]) -> bool:
    is_like_key = wanted.key is None or any(
        one is not None and (one == wanted.key if wanted.is_exact else fnmatchcase(one, wanted.key))
        for one in (of.key, root_key)
    )
    return (
        of.state in wanted.states
        and (wanted.batches is None or of.batch_id in wanted.batches)
        and wanted.provider in {None, of.provider}
        and wanted.operation in {None, of.operation}
        and wanted.labels.items() <= labels.items()
        and is_like_key
        and (wanted.words is None or has(of.prompt, wanted.words))
        and (wanted.since is None or of.id >= wanted.since)
        and (wanted.until is None or of.id < wanted.until)
    )


def pages(ledger: Ledger, wanted: Wanted, limit: int) -> Iterator[str]:
    before = None
    while True:
        found = ledger.generations.look(wanted, before=before, limit=limit)
        assert list(found.ids) == sorted(found.ids, reverse=True)
        yield from found.ids
        if found.next is None:
            return
        assert before is None or found.next < before
        before = found.next
        # Somebody else goes on creating.
        ledger.generations.create([new("a fox in colour 1, CAFÉ", key=None)])


@settings(KEPT, max_examples=examples(200))
@given(data=st.data())
def test_every_generation_that_matches_comes_exactly_once(filled, ledger: Ledger, data: st.DataObject) -> None:
    ids = sorted(filled)
    batches = {of.batch_id for of, _, _ in filled.values() if of.batch_id}
    is_exact = data.draw(st.booleans())
    wanted = Wanted(
        states=data.draw(st.sampled_from([RESULTS, *((one,) for one in (*RESULTS, State.FAILED))])),
        batches=data.draw(st.none() | st.lists(st.sampled_from(sorted(batches)), min_size=1, unique=True).map(tuple)),
        provider=data.draw(st.sampled_from([None, None, "kie", "acedata"])),
        operation=data.draw(st.sampled_from([None, None, Operation.UPSCALE])),
        labels=data.draw(st.sampled_from([{}, {}, {"client": "acme"}, {"client": "beta", "rush": "yes"}])),
        key=data.draw(
            st.sampled_from([None, None, "B-1", "C-2", "C-4", "B-7"] if is_exact else [None, "B-*", "?-1*", "[!B]-*"])
        ),
        is_exact=is_exact,
        words=data.draw(st.sampled_from([None, None, "colour 1", "CAFÉ", "%", "fox_"])),
        since=data.draw(st.none() | st.sampled_from(ids)),
        until=data.draw(st.none() | st.sampled_from(ids)),
    )
    expected = [id_ for id_, (of, root, labels) in filled.items() if matches(wanted, of, root, labels)]
    with pytest.MonkeyPatch.context() as patch:
        # So that most searches are cut.
        patch.setattr(gallery, "MOST_LOOKED_AT", data.draw(st.sampled_from([4, 7, 1000])))
        found = list(pages(ledger, wanted, data.draw(st.integers(1, 9))))
    assert found == sorted(expected, reverse=True)


def test_a_search_says_where_it_stopped_and_goes_on_from_there(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MOST_LOOKED_AT", 10)
    ids = [one.id for one in ledger.generations.create([new(f"fox {number}") for number in range(25)])]
    with ledger.database.write() as connection:
        connection.execute(text("UPDATE generations SET state = 'archived'"))
    wanted = Wanted(states=(State.ARCHIVED,), words="fox 3")
    looks = []
    before = None
    while True:
        looks.append(ledger.generations.look(wanted, before=before, limit=100))
        if (before := looks[-1].next) is None:
            break
    assert [(one.ids, one.is_cut) for one in looks] == [((), True), ((), True), ((ids[3],), False)]
    assert looks[0].next == ids[15]


def test_lanes_that_reach_back_to_different_times_lose_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are in one state, the oldest in another: each lane has a budget of its own."""
    monkeypatch.setattr(gallery, "MOST_LOOKED_AT", 12)
    ids = [one.id for one in ledger.generations.create([new("fox") for _ in range(40)])]
    with ledger.database.write() as connection:
        for number, id_ in enumerate(ids):
            state = State.SUCCEEDED if number < 20 else State.ARCHIVED
            connection.execute(update(generations).where(generations.c.id == id_).values(state=state))
    wanted = Wanted(states=RESULTS, words="fox")
    assert list(pages(ledger, wanted, 100)) == sorted(ids, reverse=True)


def test_a_follow_up_is_found_by_its_own_key_and_its_first_ancestors_and_by_none_between(ledger: Ledger) -> None:
    (root,) = ledger.generations.create([new(key="root-1")])
    (middle,) = ledger.generations.create([new(key="middle-1", parent_id=root.id)])
    (last,) = ledger.generations.create([new(key="last-1", parent_id=middle.id)])

    def found(key: str, *, is_exact: bool) -> tuple[str, ...]:
        wanted = Wanted(states=(State.QUEUED,), key=key, is_exact=is_exact)
        return ledger.generations.look(wanted, before=None, limit=9).ids

    for root_key, middle_key, is_exact in (("root-*", "middle-*", False), ("root-1", "middle-1", True)):
        assert found(root_key, is_exact=is_exact) == (last.id, middle.id, root.id)
        assert found(middle_key, is_exact=is_exact) == (middle.id,)
