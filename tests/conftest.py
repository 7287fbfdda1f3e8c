"""What holds for every test."""

import pytest


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own screen: a test that wants a window starts a screen for it."""
    monkeypatch.delenv("DISPLAY", raising=False)
