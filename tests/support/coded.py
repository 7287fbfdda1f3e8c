"""Pictures with their frame's number in them, for tests."""

from ball_track import Image, Scene, draw
from protocol.picture_code import CodeLayout, Painter, layout_of

RUN = 0x5A3C  # the mask of the run


def coded_scene(width: int = 640, height: int = 480, fps: float = 30.0, radius: float = 20.0) -> Scene:
    """Return a scene that leaves room for the code."""
    return Scene(width, height, fps, radius, margins=layout_of(width, height).margins)


def coded_image(scene: Scene, k: int, run: int = RUN) -> Image:
    """Return frame `k` of a scene with its number in it."""
    image = draw(scene, scene.position(k))
    Painter(layout(scene), run).paint(image, k)
    return image


def layout(scene: Scene) -> CodeLayout:
    """Return where the code is in a scene's pictures."""
    return layout_of(scene.width, scene.height)
