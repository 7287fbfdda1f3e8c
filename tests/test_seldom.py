"""common/seldom.py: the same thing once a minute."""

from common.seldom import INTERVAL, Seldom


def test_the_same_thing_is_told_once_a_minute_and_each_other_thing_too() -> None:
    """However often it comes; what was otherwise in between is told again, and nothing old is remembered."""
    now = 100.0
    seldom = Seldom(lambda: now)
    assert [seldom.due(what) for what in ("a", "a", "b", "a", "b")] == [True, False, True, False, False]
    seldom.forget("a")
    seldom.forget("c")
    assert [seldom.due(what) for what in ("a", "b")] == [True, False]
    now += INTERVAL
    assert [seldom.due(what) for what in ("b", "b")] == [True, False]
    assert len(seldom._told) == 1
