"""own.py: a person's finder is loaded, asked, and survived, whatever it does."""

import argparse
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ball_track import Image, Point, Scene, draw, planes
from finding import own
from finding.own import Faults, OwnFinder, OwnFinderError, finder_name

IMAGE = draw(Scene(320, 240), Point(100, 120))


class Folder:
    """A folder that is the current one, for modules of a test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []

    def write(self, text: str) -> str:
        """Make a module; return its name, which is a new one."""
        name = f"eyes_{os.getpid()}_{self.path.name.replace('-', '_')}_{len(self.names)}"
        (self.path / f"{name}.py").write_text(text)
        self.names.append(name)
        return name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """Return a folder for modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = Folder(tmp_path)
    yield folder
    for name in folder.names:
        sys.modules.pop(name, None)


def ask(module: str, function: str = "find", images: int = 1) -> tuple[Point | None, list[tuple[str, str]]]:
    """Load a finder and ask it; return what it says of the last image, and its faults."""
    faults: list[tuple[str, str]] = []
    finder = OwnFinder(f"{module}:{function}", lambda kind, text: faults.append((kind, text)))
    return [finder(IMAGE) for _ in range(images)][-1], faults


@pytest.mark.parametrize(
    "answer",
    [
        "12, 7.5",
        "[12, 7.5]",
        "numpy.array([12, 7.5])",
        "numpy.float32(12), numpy.float64(7.5)",
        "(v for v in (12, 7.5))",
    ],
)
def test_own_finder_gives_what_the_function_returns(folder: Folder, answer: str) -> None:
    """Any two numbers are a point, however they are put."""
    module = folder.write(f"import numpy\ndef find(image): return {answer}")
    assert ask(module) == (Point(12, 7.5), [])


def test_own_finder_takes_none_for_no_ball(folder: Folder) -> None:
    """None is an answer, not a fault."""
    assert ask(folder.write("def find(image): return None")) == (None, [])


@pytest.mark.parametrize(
    ("wanted", "shape"), [("", (240, 320, 3)), ("IMAGE = 'gray'", (240, 320)), ("IMAGE = 'i420'", (360, 320))]
)
def test_own_finder_is_given_the_image_that_it_asks_for(folder: Folder, wanted: str, shape: tuple[int, ...]) -> None:
    """BGR, or what its module says: the right shape, and the ball in it as bright as it is."""
    module = folder.write(
        f"{wanted}\nseen = []\n"
        "def find(image):\n"
        "    seen.append((image.shape, image.dtype.name, image[120, 100].max(), image[10, 10].max()))\n"
    )
    ask(module)
    bright, dark = (255, 0) if not wanted else (235, 16)
    assert sys.modules[module].seen == [(shape, "uint8", bright, dark)]


@pytest.mark.parametrize("wanted", ["bgr", "gray", "i420"])
def test_own_finder_may_keep_and_paint_its_image(folder: Folder, wanted: str) -> None:
    """What it is given is its own: painted over, nobody else sees it; kept, it stays."""
    module = folder.write(
        f"IMAGE = {wanted!r}\nkept = []\ndef find(image):\n    image[:] = 7\n    kept.append(image)\n"
    )
    image = IMAGE.copy()
    finder = OwnFinder(f"{module}:find", lambda *_: None)
    finder(image)
    assert np.array_equal(image, IMAGE)
    image[:] = 99
    kept: list[Any] = sys.modules[module].kept
    assert (kept[0] == 7).all()


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("raise RuntimeError('no\\n luck')", "raised", r"RuntimeError: no luck \(eyes_.*\.py, line 1\)"),
        ("raise SystemExit(3)", "raised", "SystemExit: 3 .*"),
        ("raise KeyboardInterrupt", "raised", r"KeyboardInterrupt \(.*"),
        ("raise Rude", "raised", r"Rude \(.*"),
        ("return 1 / 0", "raised", "ZeroDivisionError: .*"),
        ("return input()", "raised", "(EOFError|OSError): .*"),
        ("return image[9999, 0]", "raised", "IndexError: .*"),
        ("return 5", "nonsense", "returned 5, which is neither None nor x and y in px"),
        ("return 1, 2, 3", "nonsense", r"returned \(1, 2, 3\), .*"),
        ("return ()", "nonsense", r"returned \(\), .*"),
        ("return '12'", "nonsense", "returned '12', .*"),
        ("return {1, 2}", "nonsense", "returned {1, 2}, .*"),
        ("return 'ab', None", "nonsense", ".*"),
        ("return float('nan'), 1", "nonsense", r"returned \(nan, 1\), .*"),
        ("return 1, float('inf')", "nonsense", ".*"),
        ("return 1e9, 0", "nonsense", ".*"),
        ("return 10 ** 400, 0", "nonsense", ".*"),
        ("return image", "nonsense", ".*"),
        ("return Rude()", "nonsense", "returned a Rude, .*"),
        ("return iter(int, 1)", "nonsense", ".*"),
    ],
)
def test_own_finder_survives_what_the_function_does(folder: Folder, body: str, kind: str, text: str) -> None:
    """Whatever it raises or returns is one line, and no ball; the next image is looked at all the same."""
    rude = (
        "class Rude(Exception):\n"
        "    def __str__(self): raise ValueError\n"
        "    def __repr__(self): raise ValueError\n"
        "    def __iter__(self): raise SystemExit\n"
    )
    module = folder.write(f"def find(image): {body}\n{rude}")
    point, faults = ask(module, images=2)
    assert point is None
    assert [fault[0] for fault in faults] == [kind, kind]
    assert len(faults[0][1].splitlines()) == 1
    assert len(faults[0][1]) < 400
    assert re.fullmatch(text, faults[0][1])


def test_own_finder_that_takes_long_is_told_and_believed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says late counts; that it is late is told, but for the first time, when it may have loaded a model."""
    monkeypatch.setattr(own, "SLOW_S", -1.0)
    point, faults = ask(folder.write("def find(image): return 1, 2"), images=3)
    assert point == Point(1, 2)
    assert [kind for kind, _ in faults] == ["slow", "slow"]


def test_own_finder_may_be_any_callable(folder: Folder) -> None:
    """An object that is called, or a method of one, is a finder like a function; dots lead to it."""
    module = folder.write(
        "class Ball:\n"
        "    def __call__(self, image): return 1, 2\n"
        "    def find(self, image): return 3, 4\n"
        "ball = Ball()\n"
    )
    assert ask(module, "ball") == (Point(1, 2), [])
    assert ask(module, "ball.find") == (Point(3, 4), [])


@pytest.mark.parametrize(
    ("text", "function", "why"),
    [
        ("", "find", "has no function find"),
        ("find = 5", "find", "has no function find"),
        ("def find(image): return", "find.deeper", "has no function find.deeper"),
        ("import nothing_of_that_name\n", "find", "importing .* failed: ModuleNotFoundError: .*nothing_of_that_name.*"),
        ("1 / 0", "find", r"importing .* failed: ZeroDivisionError: division by zero \(eyes_.*\.py, line 1\)"),
        ("def find(:", "find", r"importing .* failed: SyntaxError: .* \(eyes_.*\.py, line 1\)"),
        ("raise SystemExit", "find", "importing .* failed: SystemExit .*"),
        ("IMAGE = 'rgb'\ndef find(image): return", "find", "IMAGE is 'rgb': must be one of bgr, gray, i420"),
        ("IMAGE = 3\ndef find(image): return", "find", "IMAGE is 3: must be one of bgr, gray, i420"),
    ],
)
def test_own_finder_that_cannot_be_loaded_says_why(folder: Folder, text: str, function: str, why: str) -> None:
    """A module that fails, or has no such function, is one line that says what is wrong and where."""
    with pytest.raises(OwnFinderError, match=why) as caught:
        ask(folder.write(text), function)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["nothing_there", "nothing_there.deeper", "finding.nothing_there"])
def test_own_finder_that_is_not_there_says_where_it_was_looked_for(folder: Folder, name: str) -> None:
    """A module that is in no folder is told by its name, and the folder by its own."""
    with pytest.raises(OwnFinderError, match=f"there is no module {name.removesuffix('.deeper')} in {folder.path}"):
        ask(name)


def test_diverted_stdout_goes_to_stderr_and_is_counted() -> None:
    """What Python prints, and what anything else writes to file 1, is on stderr; stdout stays clean."""
    script = (
        "import os, sys\nfrom finding.own import divert_stdout\ncount = divert_stdout()\nprint('by print')\n"
        "os.write(1, b'by hand\\n')\nassert count() > 0\nsys.stdout.flush()\nprint(sys.stdout.isatty(), '\\ud800')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(own.__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr.split("\n") == ["by print", "by hand", "False \\ud800", ""]


def test_own_finder_that_prints_is_told_once_a_frame(folder: Folder) -> None:
    """However much it prints, that is one fault a frame, and the answer counts."""
    out = io.StringIO()
    faults: list[str] = []
    module = folder.write("def find(image):\n    for _ in range(9): out.write('x')\n    return 1, 2\n")
    finder = OwnFinder(f"{module}:find", lambda kind, _: faults.append(kind), lambda: len(out.getvalue()))
    sys.modules[module].out = out  # type: ignore[attr-defined]  # a module of the test's
    assert [finder(IMAGE), finder(IMAGE)] == [Point(1, 2)] * 2
    assert faults == ["printed", "printed"]


def test_faults_are_all_counted_and_the_first_told(caplog: pytest.LogCaptureFixture) -> None:
    """The same fault is told once, some others of its kind as well, and no flood; the counts have them all."""
    faults = Faults("eyes:find")
    for number in range(50):
        faults.add("nonsense", "returned 5")
        faults.add("raised", f"ValueError: {number}")
    assert [record.getMessage() for record in caplog.records] == [
        "eyes:find: returned 5",
        "eyes:find: ValueError: 0",
        "eyes:find: ValueError: 1",
        "eyes:find: ValueError: 2; further ones of this kind are only counted",
    ]
    assert str(faults) == "eyes:find: faults: nonsense 50, raised 50"


def test_convert_leaves_i420_as_it_came() -> None:
    """Who asks for i420 gets the very samples."""
    image: Image = own._convert(IMAGE, "i420")
    assert np.array_equal(image, IMAGE)
    assert np.array_equal(own._convert(IMAGE, "gray"), planes(IMAGE)[0])


@pytest.mark.parametrize(
    "text", ["eyes.py", "eyes", ":find", "eyes:", "../eyes:find", "my eyes:f", "5:find", "eyes:f()"]
)
def test_finder_name_refuses_what_is_none(text: str) -> None:
    """What is not MODULE:FUNCTION is told what it must be."""
    with pytest.raises(argparse.ArgumentTypeError, match="must be MODULE:FUNCTION"):
        finder_name(text)


def test_finder_name_looks_in_the_current_folder_and_imports_nothing(folder: Folder) -> None:
    """A module that fails when it is imported has a name all the same; one that is nowhere has none."""
    module = folder.write("1 / 0")
    assert finder_name(f"{module}:find") == f"{module}:find"
    assert finder_name("examples.finders:Background.__call__")
    assert module not in sys.modules
    with pytest.raises(argparse.ArgumentTypeError, match="there is no such module"):
        finder_name("nothing_of_that_name.deeper:find")
