"""Chunks that are computed once for each pass over them, and held by nothing in between.

Where chunks of x cut what is normalised together, all of them have to be seen before the first can
be written. With the same tasks in both passes, every chunk would have to stay in memory meanwhile;
with tasks of its own, under other keys, each pass has them one by one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import dask.array as da
from dask._task_spec import convert_legacy_graph
from dask.base import clone_key
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer


def again(x: da.Array, recompute: bool | None, purpose: str) -> da.Array:
    """x for a pass over it that is not the last: `purpose` names it.

    recompute  True: of tasks of its own. False: x itself. None: of its own where no chunk of x
               needs more than one of its source, as it is where one is read, sliced, cast, so that
               nothing but this is done twice.
    """
    if recompute is None:
        keys = x.dask.get_all_external_keys()
        recompute = all(_is_chunk_by_chunk(layer, keys) for layer in x.dask.layers.values())
    return _renamed(x, f"normkernels-{purpose}") if recompute else x


def _is_chunk_by_chunk(layer: Layer, keys: Collection[Any]) -> bool:
    return isinstance(layer, Blockwise) or all(
        len(task.dependencies) <= 1 for task in _tasks(layer, keys).values()
    )


def _tasks(layer: Layer, keys: Collection[Any]) -> dict[Any, Any]:
    """The tasks of a layer as objects that know what they depend on, as plain data does not."""
    tasks: dict[Any, Any] = convert_legacy_graph(dict(layer), keys)
    return tasks


def _renamed(x: da.Array, seed: str) -> da.Array:
    """x with all tasks under other keys.

    dask.graph_manipulation.clone would be that, but does not see what tasks depend on in layers
    that are not Blockwise (Dask 2026.8).
    """
    graph = x.dask
    keys = {key: clone_key(key, seed) for key in graph.get_all_external_keys()}

    def renamed(layer: Layer) -> Any:
        if isinstance(layer, Blockwise):
            return layer.clone(keys.keys(), seed)[0]
        tasks = _tasks(layer, keys)
        return {keys[key]: task.substitute(keys, keys[key]) for key, task in tasks.items()}

    layers = {clone_key(name, seed): renamed(layer) for name, layer in graph.layers.items()}
    dependencies = {
        clone_key(name, seed): {clone_key(other, seed) for other in others}
        for name, others in graph.dependencies.items()
    }
    return da.Array(
        HighLevelGraph(layers, dependencies), clone_key(x.name, seed), x.chunks, meta=x._meta
    )
