"""Chunks that are computed once for each pass over them, and held by nothing in between.

Where chunks of x cut what is normalised together, all of them have to be seen before the first can
be written. With the same tasks in both passes, every chunk would have to stay in memory meanwhile;
with tasks of its own, under other keys, each pass has them one by one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import dask.array as da
from dask._task_spec import Alias, DataNode, convert_legacy_graph
from dask.base import clone_key
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer


def again(x: da.Array, recompute: bool | None, purpose: str) -> da.Array:
    """x for a pass over it that is not the last: `purpose` names it.

    recompute  True: of tasks of its own. False: x itself. None: of its own where no chunk of x
               needs more than one of its source, as it is where one is read, sliced, cast, so that
               nothing but this is done twice.

    What is in memory anyway, on a cluster's workers or as a NumPy array, is always shared.
    """
    if recompute is None:
        keys = x.dask.get_all_external_keys()
        recompute = all(
            isinstance(layer, Blockwise)
            or all(len(task.dependencies) <= 1 for task in _tasks(layer, keys).values())
            for layer in x.dask.layers.values()
        )
    return _renamed(x, f"normkernels-{purpose}") if recompute else x


def _tasks(layer: Layer, keys: Collection[Any]) -> dict[Any, Any]:
    """What is computed in a layer, without the data there: objects that know their dependencies."""
    nodes = convert_legacy_graph(dict(layer), keys)
    return {
        key: node
        for key, node in nodes.items()
        if not isinstance(node, DataNode)
        # A persisted chunk: the name of what a future holds.
        and not (isinstance(node, Alias) and node.target not in keys)
    }


def _renamed(x: da.Array, seed: str) -> da.Array:
    """x with all tasks under other keys.

    dask.graph_manipulation.clone would be that, but does not see what tasks depend on in layers
    that are not Blockwise (Dask 2026.8).
    """
    graph, all_keys = x.dask, x.dask.get_all_external_keys()
    tasks = {
        name: layer if isinstance(layer, Blockwise) else _tasks(layer, all_keys)
        for name, layer in graph.layers.items()
    }
    keys = {key: clone_key(key, seed) for layer in tasks.values() for key in layer}
    names = {name: clone_key(name, seed) if tasks[name] else name for name in tasks}
    if x.name not in names or names[x.name] == x.name:
        return x

    def renamed(layer: Layer, tasks: Any) -> Any:
        if isinstance(layer, Blockwise):
            return layer.clone(keys.keys(), seed)[0]
        data = {key: value for key, value in layer.items() if key not in tasks}
        return data | {keys[key]: task.substitute(keys, keys[key]) for key, task in tasks.items()}

    layers = {names[name]: renamed(layer, tasks[name]) for name, layer in graph.layers.items()}
    dependencies = {
        names[name]: {names[other] for other in others}
        for name, others in graph.dependencies.items()
    }
    return da.Array(HighLevelGraph(layers, dependencies), names[x.name], x.chunks, meta=x._meta)
