"""A pool's line: first come, first served within a priority (O2)."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ipycron.scheduling.pools import Pool

steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "release", "leave", "limit"]),
        st.integers(0, 9),
    ),
    max_size=80,
)


async def play(steps):
    """Do the steps to a pool and to a list that is sorted each time."""
    pool, limit = Pool(), 1
    pool.limit = limit
    line, held, granted = [], [], []
    for number, (action, value) in enumerate(steps):
        if action == "ask":
            place = pool.ask(value % 3, lambda number=number: granted.append(number))
            line.append((-(value % 3), number, place))
        elif action == "release" and held:
            held.pop(value % len(held))[2].release()
        elif action == "leave" and line:
            line.pop(value % len(line))[2].release()
        elif action == "limit":
            limit = pool.limit = 1 + value % 4
            pool.serve()
        line.sort(key=lambda entry: entry[:2])
        while line and len(held) < limit:
            held.append(line.pop(0))
        assert [place.is_held for *_, place in held] == [True] * len(held)
        assert [place.is_held for *_, place in line] == [False] * len(line)
        assert (pool.held, pool.waiting) == (len(held), len(line))
        await asyncio.sleep(0)
    assert len(granted) == len(set(granted))


@given(steps)
def test_line_is_served_in_the_order_of_priority_and_time(steps):
    """Whoever leaves it, and whatever becomes of the limit."""
    asyncio.run(play(steps))
