"""Rows on disk are read as those of a list are."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.usecases.batches import row_spool
from tasks.usecases.batches.row_spool import RowSpool
from tests.factories import new


@given(number=st.integers(0, 9), chunk=st.integers(1, 4), data=st.data())
def test_a_spool_is_read_like_a_list(number: int, chunk: int, data: st.DataObject) -> None:
    rows = [new(f"prompt {one}", key=f"k{one}") for one in range(number)]
    with pytest.MonkeyPatch.context() as patch, closing(RowSpool()) as spool:
        patch.setattr(row_spool, "_CHUNK", chunk)
        for place, one in enumerate(rows):
            spool.append(one)
            # Also while it is being written.
            assert list(spool) == rows[: place + 1]
        assert len(spool) == number
        assert [spool[place] for place in range(-number, number)] == [*rows, *rows]
        piece = data.draw(st.slices(number))
        assert spool[piece] == rows[piece]
        with pytest.raises(IndexError):
            spool[number]
