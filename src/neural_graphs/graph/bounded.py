"""What depends on layouts and is large: kept in bounded memory while it may be asked for again."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from threading import Lock
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

import torch

REMEMBERED = 1 << 16  # forgotten results that are known again when they come back


@runtime_checkable
class Sized(Protocol):
    """What knows how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes, about."""
        ...


Given = ParamSpec("Given")
Made = TypeVar("Made", bound=Sized)


def bounded(room: int) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Keep results of a function of hashable values in twice `room` bytes; `torch.compile` does not look inside.

    Tensors among them are made outside inference mode, by whatever thread asks.
    """

    def decorate(function: Callable[Given, Made]) -> Callable[Given, Made]:
        kept = Bounded(torch.inference_mode(False)(function), room)

        @wraps(function)
        def remembered(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            return kept(*args)

        marked: Callable[Given, Made] = torch.compiler.assume_constant_result(remembered)
        return marked

    return decorate


class Shelf(Generic[Made]):
    """Results by their keys, the last ones that were asked for, in `room` bytes; the very last stays, however large."""

    def __init__(self, room: int) -> None:
        self.room, self.taken = room, 0
        self.kept: OrderedDict[Hashable, Made] = OrderedDict()

    def get(self, key: Hashable) -> Made | None:
        """What is kept under a key."""
        if (found := self.kept.get(key)) is not None:
            self.kept.move_to_end(key)
        return found

    def put(self, key: Hashable, made: Made) -> list[Hashable]:
        """Keep a result; returns the keys of those that had to go."""
        if key in self.kept:  # another thread was faster
            return []
        self.kept[key] = made
        self.taken += made.nbytes
        gone = []
        while self.taken > self.room and len(self.kept) > 1:
            old, dropped = self.kept.popitem(last=False)
            self.taken -= dropped.nbytes
            gone.append(old)
        return gone


class Bounded(Generic[Made]):
    """The results of a function, on two shelves of so many bytes each.

    Batches drawn at random hardly ever come again: the `first` shelf holds the last ones, as long as steps read them.
    What comes again after it was forgotten, as the batches of a val split do, goes onto the `second` one, where what is
    drawn at random does not push it out.
    """

    def __init__(self, function: Callable[..., Made], room: int) -> None:
        self.function = function
        self.first, self.second = Shelf[Made](room), Shelf[Made](room)
        self._forgotten: OrderedDict[int, None] = OrderedDict()  # hashes of keys: nothing is kept alive by them
        self._lock = Lock()

    def __call__(self, *key: Any) -> Made:
        with self._lock:
            found = self.first.get(key) or self.second.get(key)
        if found is not None:
            return found
        made = self.function(*key)
        with self._lock:
            shelf = self.second if hash(key) in self._forgotten else self.first
            self._forgotten.update(dict.fromkeys(map(hash, shelf.put(key, made))))
            while len(self._forgotten) > REMEMBERED:
                self._forgotten.popitem(last=False)
        return made
