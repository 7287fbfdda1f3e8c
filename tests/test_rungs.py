"""The film's bit rates: each is encoded while somebody needs it, and nobody gets a key frame for another's change."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ball_track import Scene
from film.rungs import Rungs, Subscription
from film.video_encoder import Encoded, SharedEncoder
from support.programs import PATIENCE
from support.reel import Reel

RATES = (500_000, 100_000, 50_000)


class Ladder:
    """Rungs over a film in which time goes by in frames, and the encoders that were made for them."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.closed: list[int] = []
        film = Reel(Scene(64, 64, radius=10, speed=100))

        def create(bitrate: int) -> SharedEncoder:
            self.made.append(bitrate)
            closed = self.closed

            class Told(SharedEncoder):
                async def close(self) -> None:
                    closed.append(bitrate)
                    await super().close()

            return Told(film, "vp8", bitrate)

        self.rungs = Rungs(RATES, create)


@pytest.fixture
async def ladder() -> AsyncIterator[Ladder]:
    """Give the rungs, and close them."""
    made = Ladder()
    yield made
    await made.rungs.close()


async def get(place: Subscription, count: int = 1, anew: bool = False) -> list[Encoded]:
    """Return so many frames of a client's."""
    async with asyncio.timeout(PATIENCE):
        return [await place.next(anew and not k) for k in range(count)]


def step(place: Subscription, rung: int) -> None:
    """Let a client's rule decide for a rung."""
    place.rule.rung = rung


async def test_rung_is_encoded_while_somebody_needs_it(ladder: Ladder):
    """The first client makes its encoder, the last one that leaves ends it, and the next makes another."""
    one, two = Subscription(ladder.rungs), Subscription(ladder.rungs)
    await get(one)
    await get(two)
    assert ladder.made == [500_000]
    step(one, 1)
    await get(one)
    assert ladder.made == [500_000, 100_000]
    assert ladder.rungs.clients == [1, 1, 0]
    step(one, 0)
    await get(one)
    await asyncio.sleep(0)
    assert ladder.closed == [100_000]
    for place in (one, two, one):
        place.leave()
    await ladder.rungs.close()
    assert ladder.rungs.clients == [0, 0, 0]
    assert ladder.closed == [100_000, 500_000]


async def test_client_changes_at_a_key_frame_and_nobody_else_gets_one(ladder: Ladder):
    """Down and up again: whoever changes goes on at a key frame of a later image, and the others see no difference."""
    mover, other = Subscription(ladder.rungs), Subscription(ladder.rungs)
    mine, theirs = await get(mover, 3), await get(other, 3)
    assert [each.key for each in mine] == [True, False, False]
    step(mover, 1)
    mine += await get(mover, 3)
    theirs += await get(other, 10)
    assert [each.key for each in mine[3:]] == [True, False, False]
    assert [each.shot.k for each in mine] == sorted({each.shot.k for each in mine})
    assert [each.key for each in theirs] == [True] + [False] * 12
    step(mover, 2)
    assert [each.key for each in await get(mover, 3)] == [True, False, False]
    assert not any(each.key for each in await get(other, 10))


async def test_client_gets_no_image_twice_on_a_rung_that_is_there(ladder: Ladder):
    """Whoever comes to a rung that others are on, goes on after what it has seen."""
    first, second = Subscription(ladder.rungs), Subscription(ladder.rungs)
    await get(first, 2)
    before = await get(second, 20)
    step(first, 1)
    await get(first, 1)
    step(second, 1)
    after = await get(second, 2)
    assert after[0].key
    assert after[0].shot.k > before[-1].shot.k


async def test_numbers_of_another_rung_mean_nothing(ladder: Ladder):
    """Who comes to a rung whose next frame has the number that would be next on its own one, gets a key frame first."""
    mover, other = Subscription(ladder.rungs), Subscription(ladder.rungs)
    had = await get(mover, 5)
    step(other, 1)
    theirs = await get(other, 6)
    assert had[-1].number + 1 == theirs[-1].number
    step(mover, 1)
    (first,) = await get(mover)
    assert first.key
    assert first.number > theirs[-1].number


async def test_one_rung_that_stands_still_is_told(ladder: Ladder):
    """Whoever asks whether frames come learns of each rung that gives none, as long as somebody is on it."""
    one, two = Subscription(ladder.rungs), Subscription(ladder.rungs)
    step(two, 1)
    await get(two)
    assert not ladder.rungs.stalled
    ladder.rungs._encoders[1]._progress = Standstill()  # type: ignore[attr-defined]
    assert ladder.rungs.stalled
    two.leave()
    assert not ladder.rungs.stalled
    one.leave()


class Standstill:
    """Stands where an encoder has its progress: there is none."""

    stalled = True


async def test_who_leaves_while_it_waits_disturbs_nobody(ladder: Ladder):
    """The place is given up when the frame has come; the encoder is not closed under those who wait for it."""
    one, two = Subscription(ladder.rungs), Subscription(ladder.rungs)
    waiting = asyncio.create_task(one.next(False))
    await asyncio.sleep(0)
    one.leave()
    two.leave()
    async with asyncio.timeout(PATIENCE):
        assert (await waiting).key
    assert ladder.rungs.clients == [0, 0, 0]
    await ladder.rungs.close()
    assert ladder.closed == [500_000]


async def test_key_frame_that_is_asked_for_is_one_of_the_own_rung(ladder: Ladder):
    """A client that has lost a picture gets a key frame, and those on other rungs get none."""
    narrow, wide = Subscription(ladder.rungs), Subscription(ladder.rungs)
    step(narrow, 1)
    await get(narrow, 2)
    await get(wide, 2)
    narrow.ask_for_key_frame()
    assert any(each.key for each in await get(narrow, 10))
    assert not any(each.key for each in await get(wide, 10))


async def test_end_that_fails_is_told_and_the_others_end(ladder: Ladder, caplog: pytest.LogCaptureFixture):
    """An encoder that cannot be closed costs a line of the log; no other one is left running for it."""
    one, two = Subscription(ladder.rungs), Subscription(ladder.rungs)
    step(one, 1)
    await get(one)
    await get(two)

    async def fail() -> None:
        raise RuntimeError("stuck")

    ladder.rungs._encoders[1].close = fail  # type: ignore[method-assign]
    one.leave()
    await ladder.rungs.close()
    assert "an encoder's end failed: RuntimeError('stuck')" in caplog.text
    assert ladder.closed == [500_000]


async def test_client_may_leave_while_all_encoders_end(ladder: Ladder):
    """At the end of the program every rung is closed once, whoever leaves in the meantime."""
    places = [Subscription(ladder.rungs) for _ in RATES]
    for rung, place in enumerate(places):
        step(place, rung)
        await get(place)
    closing = asyncio.create_task(ladder.rungs.close())
    await asyncio.sleep(0)
    for place in places:
        place.leave()
    async with asyncio.timeout(PATIENCE):
        await closing
    assert sorted(ladder.closed) == sorted(RATES)
