"""What somebody else says, as it may be told: one line, not too long, in which nothing moves a cursor."""

LONGEST = 100  # characters


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Return so many characters of somebody's words at most, everything replaced that cannot be printed.

    >>> printable(" not\nnow\x1b[2J ")
    'not?now?[2J'
    """
    return "".join(each if each.isprintable() else "?" for each in text.strip()[:longest])
