"""What a norm takes together, and where its parameters lie: all that the graphs need to know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import dask.array as da

Chunks = tuple[tuple[int, ...], ...]


class Norm(NamedTuple):
    """One call's norm of an x of given rank.

    axes      the dimensions that are normalised together
    affine    those along which gamma and beta differ
    channel   that of the channels, where `together` of them are normalised together, too
    of_none   how many groups there are of an x without channels, which has statistics for each
    epsilon   is added to the variance
    centred   whether the mean is taken out, which RMS norm does not
    """

    axes: tuple[int, ...]
    affine: tuple[int, ...]
    epsilon: float = 0.0
    centred: bool = True
    channel: int = 0
    together: int = 1
    of_none: int = 0

    def count(self, x: da.Array) -> int:
        """How many elements share a mean; of none, 1."""
        count: int = math.prod(x.shape[axis] for axis in self.axes)
        return max(1, count * self.together)

    def is_whole(self, x: da.Array) -> bool:
        """Whether each chunk holds all of what it has a part of."""
        return all(x.numblocks[axis] == 1 for axis in self.axes) and (
            self.together == 1 or all(c % self.together == 0 for c in x.chunks[self.channel])
        )

    def groups(self, channels: int) -> int:
        """How many there are in a chunk of so many channels, which holds them whole."""
        return channels // self.together + self.of_none

    def statistics_chunks(self, x: da.Array) -> Chunks:
        """The chunks of one value for each group, where chunks of x hold them whole."""
        return tuple(
            (1,) * len(c)
            if axis in self.axes
            else tuple(self.groups(n) for n in c)
            if axis == self.channel
            else c
            for axis, c in enumerate(x.chunks)
        )


def ones_along(x: da.Array, axes: Sequence[int]) -> Chunks:
    """The chunks of x with one element of each along these dimensions."""
    return tuple((1,) * len(c) if axis in axes else c for axis, c in enumerate(x.chunks))
