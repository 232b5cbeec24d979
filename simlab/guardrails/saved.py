"""State as JSON, and back: nothing in a saved state is ever executed.

A state is written as what it is made of, and read back into the shape that a new state of the same settings has: types come from
there and never from the text, so that a saved state can be trusted as far as its numbers.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from simlab.errors import MonitorError

_KINDS: dict[str, Callable[[list[Any]], Any]] = {"list": list, "tuple": tuple, "set": set, "deque": deque}


def written(state: Any) -> Any:
    """Return a state, or any value in one, as JSON can hold it; floats to the bit.

    Raises
    ------
    MonitorError
        If it holds what cannot be written, such as a function or an open file.
    """
    if isinstance(state, np.generic):
        return written(state.item())
    if isinstance(state, float) and not math.isfinite(state):
        return {"float": str(state)}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    if isinstance(state, np.ndarray):
        values = [written(each) for each in state.ravel().tolist()]
        return {"array": state.dtype.str, "shape": list(state.shape), "values": values}
    return _written_whole(state)


def _written_whole(state: Any) -> dict[str, Any]:
    kind = "tuple" if hasattr(state, "_fields") else type(state).__name__
    if isinstance(state, list | tuple | set | deque) and kind in _KINDS:
        held = {kind: [written(each) for each in state]}
        return held | {"most": state.maxlen} if isinstance(state, deque) else held
    if type(state) is dict:
        return {"dict": [[written(key), written(held)] for key, held in state.items()]}
    if callable(state) or isinstance(state, list | tuple | set | dict | deque) or not hasattr(state, "__dict__"):
        raise MonitorError(f"a {type(state).__name__} in a rule's state cannot be saved; numbers, text and lists of them can")
    return {"object": {name: written(held) for name, held in vars(state).items()}}


def read(saved: Any, like: Any) -> Any:
    """Return the value that `written` has written.

    Parameters
    ----------
    saved : Any
        From JSON.
    like : Any
        The same place in a new state: it gives the types of arrays, named tuples and objects.

    Raises
    ------
    MonitorError
        If it does not fit.
    """
    given = saved if isinstance(saved, dict) else {}
    if (isinstance(like, np.ndarray) and "array" not in given) or (hasattr(like, "_fields") and "tuple" not in given):
        raise MonitorError(f"the saved state has {saved!r:.60} where {type(like).__name__} belongs")
    if not isinstance(saved, dict):
        return saved
    if "float" in saved:
        return float(saved["float"])
    if "array" in saved:
        return _read_array(saved, like)
    return _read_object(saved["object"], like) if "object" in saved else _read_many(saved, like)


def _read_array(saved: dict[str, Any], like: Any) -> np.ndarray:
    kind, shape, values = np.dtype(saved["array"]), tuple(saved["shape"]), saved["values"]
    of_cell = None
    if isinstance(like, np.ndarray):
        # What stands before streams and lanes may have grown, as a list of candidates does.
        if kind != like.dtype or shape[-2:] != like.shape[-2:]:
            raise MonitorError(f"the saved state has {kind} {shape} where {like.dtype} {like.shape} belongs")
        of_cell = like.flat[0] if kind.hasobject and like.size else None
    if math.prod(shape) != len(values):
        raise MonitorError(f"the saved state has {len(values)} values where {math.prod(shape)} belong")
    found = np.empty(len(values), dtype=kind)
    for index, held in enumerate(values):
        found[index] = read(held, of_cell)
    return found.reshape(shape)


def _read_object(saved: dict[str, Any], like: Any) -> Any:
    if not hasattr(like, "__dict__") or callable(like):
        raise MonitorError("an object in a rule's state cannot be saved unless one of its kind is there from the start")
    made = copy.copy(like)
    vars(made).clear()
    vars(made).update({name: read(held, getattr(like, name, None)) for name, held in saved.items()})
    return made


def _read_many(saved: dict[str, Any], like: Any) -> Any:
    if "dict" in saved:
        known = like if isinstance(like, dict) else {}
        pairs = [(read(key, None), held) for key, held in saved["dict"]]
        return {key: read(held, known.get(key)) for key, held in pairs}
    kind = next((kind for kind in _KINDS if kind in saved), None)
    if kind is None:
        raise MonitorError(f"the saved state has {sorted(saved)} where a value belongs")
    places = list(like) if isinstance(like, list | tuple | deque) else []
    held = [read(each, places[index] if index < len(places) else None) for index, each in enumerate(saved[kind])]
    if kind == "deque":
        return deque(held, saved["most"])
    if kind == "tuple" and hasattr(like, "_fields"):
        if len(held) != len(places):
            raise MonitorError(f"the saved state has {len(held)} values where {type(like).__name__} has {len(places)}")
        return type(like)(*held)
    return _KINDS[kind](held)
