"""film/published.py: each frame that somebody gets is told once, in order, to whoever wants to know."""

import asyncio

from ball_track import Scene
from film.drawn import Film
from film.published import HISTORY, Published, Shown


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time, s."""
        return self.now


async def test_frame_is_told_once_however_many_get_it():
    """Two who get the same film make one account of it; who wants no more is told no more."""
    clock, told = Clock(), list[Shown]()
    film = Published(Film(Scene(64, 64, radius=8), clock))
    end = film.tell(told.append)
    for k in range(5):
        clock.now = k / 30
        first, second = await asyncio.gather(film.next(k - 1), film.next(k - 1))
        assert first.k == second.k == k
        assert told[-1] == (k, first.pts, first.drawn, first.truth, first.captured)
    assert [shown.k for shown in told] == list(range(5))
    end()
    end()
    clock.now = 1.0
    await film.next(5)
    assert len(told) == 5


async def test_who_comes_later_learns_what_may_be_on_its_way():
    """Frames of the last seconds are told to one who comes later, older ones are forgotten."""
    clock, told = Clock(), list[Shown]()
    film = Published(Film(Scene(64, 64, radius=8), clock))
    for k in range(0, 900, 30):
        clock.now = k / 30
        await film.next(k - 1)
    film.tell(told.append)
    assert [shown.k for shown in told] == [k for k in range(0, 900, 30) if k / 30 >= 29 - HISTORY]
