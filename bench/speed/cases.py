"""The shapes, layouts and arguments that are timed."""

from collections.abc import Iterator, Sequence

from ..common.case import Case

Shapes = Sequence[tuple[int, ...]]

GROUPS = 32

# Transformers' rows and those that are no multiple of anything, in cache and out of it; widths
# that are powers of two with their neighbours; many short rows, few long ones.
LAYER_NORM = (
    *((1, 768), (3, 7), (64, 768), (80, 750), (128, 384), (240, 1200), (1000, 500), (1000, 512)),
    *((1000, 1008), (1000, 1024), (1000, 1040), (500, 2032), (500, 2048), (500, 2064)),
    *((512, 768), (3000, 1000), (1000, 4000), (2500, 4096), (100, 40000)),
    *((8, 65536), (1, 4194304), (65536, 3), (32768, 8), (20000, 16), (10007, 31), (20000, 64)),
    (5000, 100),
)
RMS_NORM = ((64, 4096), (512, 768), (2048, 1024), (1000, 4096), (300, 5120), (1000, 1000))
ADD_NORM = ((64, 4096), (512, 768), (2048, 1024), (1000, 4096))

# Planes of all sizes, volumes, sequences; channels of few vectors, and fewer than one.
NCHW = (
    *((32, 256, 8, 8), (32, 512, 7, 7), (16, 128, 14, 14), (4, 32, 28, 28), (8, 64, 56, 56)),
    *((2, 16, 200, 200), (8, 48, 200, 200), (1, 3, 1080, 1920), (5, 37, 41, 43), (64, 256, 1, 1)),
    *((16, 64, 300), (8, 64, 1000), (2, 16, 24, 40, 40), (1, 32, 64, 64, 64)),
)
NHWC = (
    *((64, 8, 8, 320), (32, 7, 7, 512), (16, 14, 14, 128), (16, 28, 28, 100), (8, 56, 56, 64)),
    *((2, 200, 200, 48), (1, 256, 256, 64), (4, 250, 250, 3), (2, 300, 300, 4), (5, 41, 43, 37)),
    *((8, 1000, 64), (1, 64, 64, 32, 32)),
)
GROUP_NORM = ((1, 320, 64, 64), (8, 64, 56, 56), (16, 1280, 8, 8), (2, 128, 128, 128))  # in NCHW

LRN_NCHW = (
    (1, 96, 55, 55),
    (16, 96, 55, 55),
    (1, 64, 224, 224),
    (4, 256, 27, 27),
    (1, 3, 211, 223),
)
LRN_NHWC = ((1, 55, 55, 96), (16, 55, 55, 96), (4, 27, 27, 256), (1, 211, 223, 3))
WINDOWS = ((11, 0.75), (5, 0.5), (5, 0.6), (5, 1.0))  # beside size 5, beta 0.75

TINY = Case("layer norm", "forward", (1, 768))  # where the call itself is the cost


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    images, channels, *spatial = shape
    return images, *spatial, channels


def both_directions(operator: str, *rows: tuple, **more: int) -> Iterator[Case]:
    for row in rows:
        for direction in ("forward", "backward"):
            yield Case(operator, direction, *row, **more)


def in_order(order: str, shapes: Shapes) -> Iterator[tuple]:
    for shape in shapes:
        yield shape, order


def adding(shapes: Shapes) -> Iterator[Case]:
    """Forward alone: their gradient is that of the norm."""
    for operator in ("add layer norm", "add RMS norm"):
        for shape in shapes:
            yield Case(operator, "forward", shape)


def family(
    *, rows: Shapes, rms: Shapes, sums: Shapes, nchw: Shapes, nhwc: Shapes, groups: Shapes
) -> Iterator[Case]:
    """All operators but LRN; group norm's shapes are in NCHW."""
    yield from both_directions("layer norm", *in_order("", rows))
    yield from both_directions("RMS norm", *in_order("", rms))
    yield from adding(sums)
    yield from both_directions("instance norm", *in_order("NCHW", nchw), *in_order("NHWC", nhwc))
    in_nhwc = in_order("NHWC", [channels_last(shape) for shape in groups])
    yield from both_directions("group norm", *in_order("NCHW", groups), *in_nhwc, groups=GROUPS)


CASES = (
    *family(rows=LAYER_NORM, rms=RMS_NORM, sums=ADD_NORM, nchw=NCHW, nhwc=NHWC, groups=GROUP_NORM),
    *both_directions("LRN", *in_order("NCHW", LRN_NCHW), *in_order("NHWC", LRN_NHWC)),
    *both_directions("LRN", ((1, 96, 55, 55), "NCHW", 3), ((1, 96, 55, 55), "NCHW", 5, 0.6)),
    *both_directions("LRN", *(((1, 55, 55, 96), "NHWC", *window) for window in WINDOWS)),
)

QUICK = (
    *family(
        rows=[(1, 768), (128, 384)],
        rms=[(128, 384)],
        sums=[(128, 384)],
        nchw=[(16, 64, 14, 14)],
        nhwc=[(16, 14, 14, 64)],
        groups=[(4, 64, 14, 14)],
    ),
    *both_directions("LRN", ((1, 64, 27, 27), "NCHW"), ((1, 27, 27, 64), "NHWC")),
)

# One of each operator, direction and layout, for the errors with x about an offset.
FAR = tuple(
    family(
        rows=[(128, 384)],
        rms=[(128, 384)],
        sums=[(128, 384)],
        nchw=[(4, 64, 14, 14)],
        nhwc=[(4, 14, 14, 64)],
        groups=[(4, 64, 14, 14)],
    )
)
