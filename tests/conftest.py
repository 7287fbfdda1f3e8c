"""What holds for all tests."""

import pytest
from hypothesis import settings

# the same examples in every run: what fails once fails always, and a busy machine fails nothing
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own screen: a test that wants a window starts a screen for it."""
    monkeypatch.delenv("DISPLAY", raising=False)
