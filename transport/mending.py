"""Putting something of ours in the place of something of a library's, if that is as expected."""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


def replace(owner: Any, name: str, parameters: str, mended: Callable[[Callable[..., Any]], Callable[..., Any]]) -> bool:
    """Put `mended(stock)` in the place of a function, if that has these parameters; return whether it has."""
    stock = getattr(owner, name, None)
    if stock is None or " ".join(inspect.signature(stock).parameters) != parameters:
        return unexpected(f"{owner.__name__}.{name}")
    setattr(owner, name, functools.wraps(stock)(mended(stock)))
    return True


def unexpected(name: str) -> bool:
    """Tell that something of a library stays as it is; return False."""
    logger.warning("this aiortc or aioice is not built as expected: %s stays as it is", name)
    return False
