"""What holds for all tests."""

from hypothesis import settings

# the same examples in every run: what fails once fails always, and a busy machine fails nothing
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
