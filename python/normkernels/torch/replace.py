"""replace_norms and restore_norms: the norms of a whole model, in place.

A module is replaced by giving it another class, a subclass of its own. So it stays the same module,
with its parameters, buffers, hooks and whoever else holds it (optimizers, tied modules, lists), and
nothing of its state is copied.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .rules import TORCH_RULES, Found, Rule, Rules, look_alike

# The attribute of a replaced module that has its former class.
FORMER = "_normkernels_former_class"
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
DEVICES = ("cpu", "meta")  # A model may be made without memory and loaded later


@dataclass
class Report:
    """What replace_norms did, by the modules' names; str() of it is a summary to read.

    changed  the former class of what was replaced
    left     the class of what looks like a norm and stays, and why
    """

    changed: dict[str, type] = field(default_factory=dict)
    left: dict[str, tuple[type, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for each class that was replaced, one for each class and reason to stay."""
        changed = Counter(kind.__name__ for kind in self.changed.values())
        left = Counter((kind.__name__, reason) for kind, reason in self.left.values())
        lines = [f"replaced {len(self.changed)}"]
        lines += [f"  {count} {name}" for name, count in sorted(changed.items())]
        lines += [f"left {len(self.left)}"] if left else []
        lines += [f"  {count} {name}: {why}" for (name, why), count in sorted(left.items())]
        return "\n".join(lines)


def replace_norms(model: nn.Module, rules: Rules | None = None) -> Report:
    """Lets normkernels compute every norm of a model, which is changed in place.

    model  Any module; itself, too, if it is a norm.
    rules  For types of your own, or instead of ours: a dict from a type, exactly, to a function
           that is given a module of it and returns one of

           - a function that becomes the forward of the module: forward(self, x)
           - a class that becomes that of the module: a subclass of its type
           - a str that says why the module stays as it is

    Without a rule of yours, the norms of torch.nn become those of normkernels.torch, and a norm of
    another library, which is a module of a weight, perhaps a bias, an epsilon and a name with
    "norm" in it, is tried on random numbers and replaced if it computes RMS norm (with a weight, or
    1 + weight) or layer norm (over the last dimension, or over channels). What has its own forward
    as an attribute, or lies on another device than the CPU or in another dtype, stays.

    Returns a Report: what was replaced, and what stays and why.

    TypeError for a rule that returns something else; the modules before it are replaced.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8))
    >>> print(nkt.replace_norms(model))
    replaced 1
      1 LayerNorm
    """
    report = Report()
    for name, module in model.named_modules():
        kind = type(module)
        rule = _rule_for(module, rules or {})
        if rule is None:
            continue
        found = _reason_to_stay(module) or rule(module)
        if isinstance(found, str):
            report.left[name] = kind, found
        else:
            _become(module, found)
            report.changed[name] = kind
    return report


def restore_norms(model: nn.Module) -> list[str]:
    """Gives every norm that replace_norms replaced its former class again; returns their names.

    >>> model = torch.nn.Sequential(torch.nn.LayerNorm(8))
    >>> report = nkt.replace_norms(model)
    >>> nkt.restore_norms(model)
    ['0']
    """
    restored = []
    for name, module in model.named_modules():
        if FORMER in module.__dict__:
            module.__class__ = module.__dict__.pop(FORMER)
            restored.append(name)
    return restored


def _rule_for(module: nn.Module, rules: Rules) -> Rule | None:
    kind = type(module)
    if FORMER in module.__dict__ or kind.__module__.startswith(__package__ + "."):
        return None
    if kind in rules:
        return rules[kind]
    if kind in TORCH_RULES:
        return TORCH_RULES[kind]
    if "norm" not in kind.__name__.lower():
        return None
    if kind.__module__.startswith("torch."):
        return lambda _: "there is no rule for it"
    # Whole layers, and models, have the word in their names, too.
    is_norm = isinstance(module, tuple(TORCH_RULES)) or next(module.children(), None) is None
    return look_alike if is_norm else None


def _reason_to_stay(module: nn.Module) -> str | None:
    if "forward" in module.__dict__:
        return "its forward is an attribute of its own"
    for name, p in module.named_parameters():
        if p.device.type not in DEVICES:
            return f"its {name} is on {p.device}"
        if p.dtype not in DTYPES:
            return f"its {name} has dtype {p.dtype}"
    return None


def _become(module: nn.Module, found: Found) -> None:
    kind: Any = type(module)
    if isinstance(found, type):
        if not issubclass(found, kind):
            raise TypeError(
                f"replace_norms: the rule for {kind.__name__} returned {found.__name__}, must "
                f"return a subclass of {kind.__name__}"
            )
        module.__class__ = found
    elif callable(found):
        module.__class__ = _with_forward(kind, found)
    else:
        raise TypeError(
            f"replace_norms: the rule for {kind.__name__} returned {found!r}, must return a "
            "class, a function or a str"
        )
    module.__dict__[FORMER] = kind


@functools.cache
def _with_forward(kind: Any, forward: Any) -> type:
    """The subclass of a module's class with another forward; of the same name, as in its repr."""

    def reduced(self: nn.Module, _: Any) -> Any:
        return _made, (kind, forward), self.__dict__.copy()  # It has no name to be pickled by

    return type(kind.__name__, (kind,), {"forward": forward, "__reduce_ex__": reduced})


def _made(kind: type, forward: Callable[..., Any]) -> Any:
    return object.__new__(_with_forward(kind, forward))
