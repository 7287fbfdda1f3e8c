"""The frame's number, written into the picture: whoever sees the picture can name its frame, and prove it.

A picture with a code has a light outline, with black on both sides, and within it one row of 36 cells at the top and
one at the bottom, each a square that is light for 1 and dark for 0:

    cells    | top row                                   | bottom row
    ---------|-------------------------------------------|---------------------
    0, 1     | reference: 1, 0                           | the same
    2 to 17  | the number modulo 2^16, in Gray code      | each cell the other way round
    18 to 33 | the check                                 | each cell the other way round
    34, 35   | reference: 1, 0                           | the same

The references tell what is light and what is dark at either end; upside down or mirrored they are none. The check is a
CRC of the number's Gray code and of how often the number has wrapped (its epoch), with a mask that each run of a server
draws for itself: the numbers of another run, and those of this run 2^16 frames ago, are not its numbers.

What a camera shows may be a mixture of two frames, cell by cell in any way: a blend in any proportion through any
gamma, a tear at any place. Between numbers 1 to 8 apart no mixture passes for a third number. For that the cells in
which two numbers differ must not contain those in which two other numbers would; Gray code and this polynomial have
that property, in all 65,536 numbers (tests/test_picture_code.py enumerates them). Plain binary has it not.

Everything lies on the grid of 16 px that codecs work on, if the picture is large enough: a cell that keeps its level
costs nothing then, and one that changes disturbs no other. Source of CRC-16/DNP: IEEE Std 1815, Annex E; of minimal
codewords: Ashikhmin and Barg, "Minimal vectors in linear codes" (1998).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ball_track import BLACK_YUV, Image

CELLS = 36
NUMBER_BITS = CHECK_BITS = 16
PERIOD = 2**NUMBER_BITS  # frames, after which the numbers in the picture begin again
GRID = 16  # px: a macroblock of VP8 and H.264
GAP = 8  # px between the margins and what the ball can reach
DARK, LIGHT = BLACK_YUV[0], 235  # levels of Y in video range
MIN_CONTRAST = 24  # levels between light and dark, below which there is no code
MIN_CLARITY = 0.12  # of the contrast that each cell is away from the middle; below it two frames are mixed
SHARP_CLARITY = 0.40  # below it another frame's ghost may pull the ball, by up to 0.3 px
CRC_REVERSED = 0xA6BC  # the polynomial 0x3D65, the lowest bit first
SAMPLED = 8  # rows of a cell that are looked at, at most

Floats = npt.NDArray[np.float64]


# --- The number ----------------------------------------------------------------------------------


def crc(data: bytes) -> int:
    """Return the CRC-16/DNP of some bytes.

    >>> hex(crc(b"123456789"))
    '0xea82'
    """
    register = 0
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ CRC_REVERSED if register & 1 else register >> 1
    return register ^ 0xFFFF


def gray(number: int) -> int:
    """Return the Gray code of a number: it changes by one bit from each number to the next.

    >>> [f"{gray(n):03b}" for n in range(5)]
    ['000', '001', '011', '010', '110']
    """
    return number ^ number >> 1


def from_gray(code: int) -> int:
    """Return the number of 16 bits that has this Gray code.

    >>> from_gray(gray(40_000))
    40000
    """
    for shift in (8, 4, 2, 1):
        code ^= code >> shift
    return code


def check_of(k: int, run: int) -> int:
    """Return what is written beside the number of frame `k` by the run with the mask `run`, 16 bits."""
    epoch, number = divmod(k, PERIOD)
    return crc(gray(epoch % PERIOD).to_bytes(2, "big") + gray(number).to_bytes(2, "big")) ^ run


def name_frame(number: int, check: int, run: int, newest: int, span: int) -> int | None:
    """Return which frame a number in the picture means; None if it can be none of this run.

    Args:
        number: what stands in the picture, 0 to 65535.
        check: what stands beside it.
        run: the mask of the run.
        newest: the newest frame that there is.
        span: so many frames, with the newest, can be seen; less than PERIOD.

    >>> name_frame(65535, check_of(65535, 7), 7, newest=65540, span=300)
    65535
    >>> name_frame(65535, check_of(65535, 7), 7, newest=131075, span=300) is None  # 2^16 frames later
    True
    """
    k = newest - (newest - number) % PERIOD
    return k if k >= 0 and newest - k < span and check == check_of(k, run) else None


# --- Where it is in the picture ------------------------------------------------------------------


class CodeLayout(NamedTuple):
    """Where in a picture the outline and the cells are, px.

    width, height: of the picture; cell: a cell's side; band: the width of the outline, half of it light; left: of the
    first cell; top, bottom: of the two rows; right, low: of the outline on the right and below.
    """

    width: int
    height: int
    cell: int
    band: int
    left: int
    top: int
    bottom: int
    right: int
    low: int

    @property
    def inside(self) -> tuple[int, int, int, int]:
        """Return what is left of the picture (left, top, right, bottom): edges of pixels, px."""
        return self.band, self.top + self.cell, self.right, self.bottom

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Return how far from each side the ball stays away (left, top, right, bottom), px."""
        left, top, right, bottom = self.inside
        return left + GAP, top + GAP, self.width - right + GAP, self.height - bottom + GAP

    @property
    def outline(self) -> tuple[float, float, float, float]:
        """Return where the middle of the light line is (left, top, right, bottom), px, pixel centres on integers."""
        middle = self.band / 2 - 0.5
        return middle, middle, self.right + middle, self.low + middle


def layout_of(width: int, height: int) -> CodeLayout:
    """Return where the code is in a picture of some size.

    Raises:
        ValueError: it is too small for one.

    >>> layout_of(640, 480).inside
    (16, 32, 624, 448)
    """
    sizes = [(GRID * n, GRID * max(1, n // 2)) for n in range(8, 0, -1)] + [(GRID // 2, GRID)]
    for cell, band in sizes:
        right, low = (width - band) // GRID * GRID, (height - band) // GRID * GRID
        room, bottom = right - band - CELLS * cell, low - -(-cell // GRID) * GRID
        if room >= 0 and bottom - band - cell >= height // 2:
            left = band + room // 2 // min(cell, GRID) * min(cell, GRID)
            return CodeLayout(width, height, cell, band, left, band, bottom, right, low)
    raise ValueError(f"{width}x{height}: too small for the frame's number; at least 320x128 has room for it")


class Painter:
    """Writes numbers into the pictures of one film.

    Args:
        layout: where.
        run: the mask of this run, 16 bits.
    """

    def __init__(self, layout: CodeLayout, run: int) -> None:
        self.layout = layout
        self.run = run
        line = layout.band // 2
        self._lines = [
            (slice(at, at + line), slice(line // 2, layout.right + line // 2 + line))
            for at in (line // 2, layout.low + line // 2)
        ] + [
            (slice(line // 2, layout.low + line // 2 + line), slice(at, at + line))
            for at in (line // 2, layout.right + line // 2)
        ]

    def paint(self, image: Image, k: int) -> None:
        """Write outline and number of frame `k` into an image.

        Args:
            image: (H * 3 / 2, W) uint8, I420, its margins black; it is changed.
            k: the number, 0 or more.
        """
        layout = self.layout
        for rows, columns in self._lines:
            image[rows, columns] = LIGHT
        word = gray(k % PERIOD) << CHECK_BITS | check_of(k, self.run)
        for top, bits in ((layout.top, word), (layout.bottom, ~word & 0xFFFFFFFF)):
            cells = np.array([int(bit) for bit in f"10{bits:032b}10"], np.uint8) * (LIGHT - DARK) + DARK
            image[top : top + layout.cell, layout.left : layout.left + CELLS * layout.cell] = cells.repeat(layout.cell)


def blacken(seen: Sequence[Image], layout: CodeLayout) -> None:
    """Paint a picture's margins black, so that who looks for a ball does not see them.

    Args:
        seen: its Y, U and V planes, (H, W), (H / 2, W / 2) and (H / 2, W / 2) uint8; they are changed.
        layout: where the margins are.
    """
    left, top, right, bottom = layout.inside
    left, top, right, bottom = left + GAP // 2, top + GAP // 2, right - GAP // 2, bottom - GAP // 2  # what cells bleed
    for plane, side, black in zip(seen, (1, 2, 2), BLACK_YUV, strict=True):
        plane[: top // side] = plane[bottom // side :] = black
        plane[:, : left // side] = plane[:, right // side :] = black


# --- Reading it ----------------------------------------------------------------------------------


class Legibility(StrEnum):
    """What can be read in a picture.

    READ: a number, the same in both rows. MIXED: cells between light and dark, as where two frames are shown at once.
    TORN: two rows that say different things, as where the lower half shows another frame. UNREAD: no code.
    """

    READ = "read"
    MIXED = "mixed"
    TORN = "torn"
    UNREAD = "unread"


class Reading(NamedTuple):
    """What was read in a picture.

    number, check: as they stand there; nothing if it is not READ. clarity: how far from the middle the least clear
    cell is, 0 to 0.5, in parts of the contrast.
    """

    legibility: Legibility
    number: int = 0
    check: int = 0
    clarity: float = 0.0

    @property
    def sharp(self) -> bool:
        """Return whether no other frame is to be seen in the picture that could pull the ball."""
        return self.clarity >= SHARP_CLARITY


def read(luma: Image, layout: CodeLayout) -> Reading:
    """Read the number in a picture.

    Args:
        luma: (H, W) uint8, the Y plane.
        layout: where the code is in pictures of this size.
    """
    return judge(_levels(luma, layout, layout.top), _levels(luma, layout, layout.bottom))


def judge(upper: Floats, lower: Floats) -> Reading:
    """Return what the levels of the cells say, (36,) each: those of the upper row, and those of the lower one."""
    shares = _shares(upper), _shares(lower)
    if shares[0] is None or shares[1] is None:
        return Reading(Legibility.UNREAD)
    clarity = float(min(np.abs(shares[0] - 0.5).min(), np.abs(shares[1] - 0.5).min()))
    if clarity < MIN_CLARITY:
        return Reading(Legibility.MIXED, clarity=clarity)
    word, other = (int.from_bytes(np.packbits(each > 0.5).tobytes(), "big") for each in (shares[0], shares[1]))
    if word ^ other != 0xFFFFFFFF:
        return Reading(Legibility.TORN, clarity=clarity)
    return Reading(Legibility.READ, from_gray(word >> CHECK_BITS), word & 0xFFFF, clarity)


def _levels(luma: Image, layout: CodeLayout, top: int) -> Floats:
    """Return how light the middle of each cell in a row is, (36,)."""
    cell, quarter = layout.cell, layout.cell // 4
    step = max(1, (cell - 2 * quarter) // SAMPLED)
    rows = luma[top + quarter : top + cell - quarter : step, layout.left : layout.left + CELLS * cell]
    sums = rows.sum(axis=0, dtype=np.uint32).reshape(CELLS, cell)
    levels: Floats = sums[:, quarter : cell - quarter].mean(axis=1) / len(rows)
    return levels


def _shares(levels: Floats) -> Floats | None:
    """Return how light 32 cells are between their references, 0 to 1; None if these are none."""
    light, dark = levels[[0, 34]], levels[[1, 35]]
    if (light - dark).min() < MIN_CONTRAST:
        return None
    along = np.arange(2, 34)
    lightest = light[0] + (light[1] - light[0]) * along / 34
    darkest = dark[0] + (dark[1] - dark[0]) * (along - 1) / 34
    share: Floats = (levels[2:34] - darkest) / (lightest - darkest)
    return share
