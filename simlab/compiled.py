"""Functions that numba compiles when they are first called: a command that draws nothing does not wait for a compiler.

A compiled function may call another one, in its own file or imported from elsewhere, as if both were plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Compiled(Generic[P, R]):
    """A function to be compiled, kept in the cache on disk.

    Parameters
    ----------
    function : callable
        What numba takes.
    is_part : bool
        Whether only compiled functions call it, so that it needs no way in from Python, which takes time to compile.
    options : Any
        Of ``numba.njit``.
    """

    def __init__(self, function: Callable[P, R], *, is_part: bool = False, **options: Any) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self.is_part = is_part
        self.targetoptions = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it, and compile it for these types where that has not been done."""
        found: R = (self._alone if self.is_part else self.dispatcher)(*args, **kwargs)
        return found

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of it."""
        from numba import njit

        _let_numba_see()
        # Nothing but Python and other compiled functions calls it, so that it needs no third way in.
        options: dict[str, Any] = {"cache": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": self.is_part}
        return njit(**options, **self.targetoptions)(self.py_func)

    @cached_property
    def _alone(self) -> Any:
        """A part with a way in from Python, for whoever tries it by itself; kept on disk it would be taken for the other one."""
        from numba import njit

        _let_numba_see()
        options: dict[str, Any] = self.targetoptions
        return njit(**options)(self.py_func)


class Elementwise(Generic[P, R]):
    """A function of numbers, to be compiled to a NumPy ufunc.

    Parameters
    ----------
    function : callable
        Of plain numbers.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        update_wrapper(self, function)
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Return its values over arrays that broadcast."""
        return self._ufunc(*args)

    @cached_property
    def _ufunc(self) -> Any:
        from numba import vectorize

        _let_numba_see()
        made: Any = vectorize
        return made(cache=True)(self._function)


@cache
def _let_numba_see() -> None:
    """Tell numba that a function which calls a `Compiled` one calls what that is compiled to."""
    from numba.core.types import Dispatcher
    from numba.extending import typeof_impl

    @typeof_impl.register(Compiled)
    def typed(function: Compiled[Any, Any], context: object) -> Dispatcher:  # noqa: ARG001
        return Dispatcher(function.dispatcher)


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Compile a function; to divide by zero is an error, as in plain Python."""
    return Compiled(function)


def vectorised(function: Callable[P, R]) -> Compiled[P, R]:
    """Compile a function whose divisions by zero are infinite or no number, as NumPy's: loops of such become vector code."""
    return Compiled(function, error_model="numpy")


def part(function: Callable[P, R]) -> Compiled[P, R]:
    """Compile a function that only compiled ones call, with divisions as `vectorised` has them."""
    return Compiled(function, is_part=True, error_model="numpy")


def inlined(function: Callable[P, R]) -> Compiled[P, R]:
    """Compile a function into each of those that call it, with divisions as they have them; Python calls it as `vectorised`."""
    return Compiled(function, inline="always", error_model="numpy")


def elementwise(function: Callable[P, R]) -> Elementwise[P, R]:
    """Compile a function of numbers to one of arrays."""
    return Elementwise(function)
