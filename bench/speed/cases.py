"""The shapes, layouts and arguments that are timed."""

from collections.abc import Iterator

from ..common.case import Case


def both_directions(operator: str, *rows: tuple) -> Iterator[Case]:
    for row in rows:
        for direction in ("forward", "backward"):
            yield Case(operator, direction, *row)


QUICK = (
    *both_directions("layer norm", ((1, 768),), ((128, 384),)),
    *both_directions("instance norm", ((16, 64, 14, 14), "NCHW"), ((16, 14, 14, 64), "NHWC")),
    *both_directions("LRN", ((1, 64, 27, 27), "NCHW"), ((1, 27, 27, 64), "NHWC")),
)

USUAL = (
    *both_directions(
        "layer norm",
        ((1, 768),),
        ((32, 128),),
        ((128, 384),),
        ((512, 768),),
        ((2048, 1024),),
        ((4096, 4096),),
        ((16, 196, 768),),
        ((8, 65536),),
        ((65536, 64),),
        ((1000, 1023),),
    ),
    *both_directions(
        "instance norm",
        ((1, 64, 256, 256), "NCHW"),
        ((8, 64, 56, 56), "NCHW"),
        ((16, 256, 14, 14), "NCHW"),
        ((1, 3, 1080, 1920), "NCHW"),
        ((32, 512, 7, 7), "NCHW"),
        ((1, 32, 64, 64, 64), "NCHW"),
        ((1, 256, 256, 64), "NHWC"),
        ((8, 56, 56, 64), "NHWC"),
        ((16, 14, 14, 256), "NHWC"),
        ((1, 1080, 1920, 3), "NHWC"),
    ),
    *both_directions(
        "LRN",
        ((1, 96, 55, 55), "NCHW"),
        ((16, 96, 55, 55), "NCHW"),
        ((1, 64, 224, 224), "NCHW"),
        ((1, 256, 27, 27), "NCHW"),
        ((8, 192, 28, 28), "NCHW"),
        ((1, 55, 55, 96), "NHWC"),
        ((16, 55, 55, 96), "NHWC"),
        ((1, 224, 224, 64), "NHWC"),
    ),
)

TINY = Case("layer norm", "forward", (1, 768))  # where the call itself is the cost

ODD = (
    *both_directions(
        "layer norm",
        ((65536, 2),),
        ((65536, 3),),
        ((32768, 8),),
        ((16384, 16),),
        ((10007, 31),),
        ((3, 7),),
        ((128, 512),),
        ((997, 997),),
        ((1, 65537),),
        ((1, 4194304),),
    ),
    *both_directions(
        "instance norm",
        ((1, 64, 32, 32), "NCHW"),
        ((1, 1, 512, 512), "NCHW"),
        ((4, 3, 224, 224), "NCHW"),
        ((64, 256, 1, 1), "NCHW"),
        ((5, 37, 41, 43), "NCHW"),
        ((8, 64, 1000), "NCHW"),
        ((1, 32, 32, 64), "NHWC"),
        ((1, 512, 512, 1), "NHWC"),
        ((4, 224, 224, 3), "NHWC"),
        ((64, 1, 1, 256), "NHWC"),
        ((5, 41, 43, 37), "NHWC"),
        ((8, 1000, 64), "NHWC"),
        ((32, 7, 7, 512), "NHWC"),
        ((1, 64, 64, 64, 32), "NHWC"),
    ),
    *both_directions(
        "LRN",
        *(
            (shape, order, size, beta)
            for shape, order in (((1, 96, 55, 55), "NCHW"), ((1, 55, 55, 96), "NHWC"))
            for size, beta in ((3, 0.75), (9, 0.75), (11, 0.75), (5, 0.5), (5, 0.6), (5, 1.0))
        ),
        ((1, 3, 211, 223), "NCHW"),
        ((1, 1, 512, 512), "NCHW"),
        ((1, 32, 16, 28, 28), "NCHW"),
        ((64, 256, 1, 1), "NCHW"),
        ((1, 211, 223, 3), "NHWC"),
        ((1, 16, 28, 28, 32), "NHWC"),
    ),
)
