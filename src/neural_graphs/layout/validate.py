"""What makes a layout valid: groups, blocks, axes and tensors that fit each other."""

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from neural_graphs.errors import LayoutError
from neural_graphs.layout.axes import Atom, Axis, Concat, Product
from neural_graphs.layout.layout import Block, Group, Layout, Parameter
from neural_graphs.layout.strides import End, Table, Window, distinct

MARKED = 1 << 22  # tensors read in parts are checked number by number up to this size


def validate(layout: Layout) -> None:
    """Raise LayoutError where groups, blocks, axes and tensors do not fit each other."""
    tensors = {parameter.name: parameter for parameter in layout.parameters}
    names = [name for parameter in layout.parameters for name in (parameter.name, *parameter.also)]
    if not layout.groups:
        raise LayoutError("a layout needs at least one group of neurons, got none; has the network any parameters?")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise LayoutError(f"the tensors of a layout need distinct names, got {twice} more than once")
    _check_atoms(layout)
    for group in layout.groups:
        _check_bias(group, tensors)
    for block in layout.blocks:
        _check_ends(layout, block)
    for block, table in zip(layout.blocks, layout.tables, strict=True):
        _check_reading(block, table, tensors)
    _check_owners(layout)


# -- axes ----------------------------------------------------------------------------------------------------------


def _check_atoms(layout: Layout) -> None:
    atoms: dict[str, Atom] = {}
    for group in layout.groups:
        for atom in group.axis.atoms():
            if atoms.setdefault(atom.name, atom) != atom:
                raise LayoutError(f"{group.name}: {atom} is {atoms[atom.name]} elsewhere; one name is one axis")
    for group in layout.groups:
        for atom, around in _surroundings(group.axis, ()):
            if any(around.count(name) != 1 for name in atom.within):
                raise LayoutError(
                    f"{group.name}: {atom.name} lies within {list(atom.within)}, which must surround it once wherever "
                    f"it occurs; here {list(around)} do"
                )
            if outer := {name for inner in atom.within for name in atoms[inner].within} - set(atom.within):
                raise LayoutError(f"{atom.name} lies within axes that lie within {sorted(outer)}; then so does it")


def _surroundings(axis: Axis, around: tuple[str, ...]) -> Iterator[tuple[Atom, tuple[str, ...]]]:
    """Every atom of an axis with the names of the atoms that surround it, itself among them."""
    match axis:
        case Atom():
            yield axis, around
        case Product():
            siblings = tuple(factor.name for factor in axis.factors if isinstance(factor, Atom))
            for factor in axis.factors:
                yield from _surroundings(factor, (*around, *siblings))
        case Concat():
            for part in axis.parts:
                yield from _surroundings(part, around)


# -- groups and blocks ---------------------------------------------------------------------------------------------


def _check_bias(group: Group, tensors: Mapping[str, Parameter]) -> None:
    if group.bias is None:
        return
    tensor = tensors.get(group.bias)
    if tensor is None or (group.window is None and tensor.size != group.size):
        found = "no such tensor" if tensor is None else tensor.shape
        raise LayoutError(f"{group.bias}: {group.size} neurons of {group.name} need shape {(group.size,)}, got {found}")
    if group.window is not None:
        _check_window(group.window, group.window.sizes, tensor)
        if group.window.size != group.size:
            raise LayoutError(f"{group.bias}: {group.window} is no window of biases for {group.size} neurons")


def _check_ends(layout: Layout, block: Block) -> None:
    count = len(layout.groups)
    if not (0 <= block.source < block.target < count):
        raise LayoutError(f"block {block.source} → {block.target} must go forward among {count} groups")
    sizes: dict[End, int] = {"source": layout.groups[block.source].size, "target": layout.groups[block.target].size}
    if block.span is not None and not 0 < block.span <= min(sizes.values()):
        raise LayoutError(f"one-to-one block {block.source} → {block.target} cannot span {block.span} neurons")
    table = block.joins
    if table is None:
        return
    for end, size in sizes.items():
        if not _fits(table, end, size):
            raise LayoutError(
                f"block {block.source} → {block.target}: {table} must reach each of {size} {end} neurons at most once "
                "along the dimensions that move"
            )
    idle = [n for n, *moves in zip(table.sizes, table.source, table.target, strict=True) if n > 1 and not any(moves)]
    if idle:
        raise LayoutError(
            f"block {block.source} → {block.target}: dimensions {idle} of {table} move neither end; make them kernel"
        )


def _fits(table: Table, end: End, neurons: int) -> bool:
    sizes, strides = table.sizes, table.strides(end)
    if len(sizes) != len(strides) or not sizes or min(sizes) < 1 or min(strides) < 0:
        return False
    return distinct(sizes, strides) and Window(0, sizes, strides).last < neurons


def _check_reading(block: Block, table: Table, tensors: Mapping[str, Parameter]) -> None:
    if block.parameter is None:
        return
    tensor = tensors.get(block.parameter)
    expected = (*table.sizes, *block.kernel)
    as_matrix = block.joins is not None or block.kind or (tensor is not None and tensor.shape[:1] == table.sizes[:1])
    whole = tensor is not None and as_matrix and tensor.size == prod(expected)
    if tensor is None or (block.window is None and not whole):
        found = "no such tensor" if tensor is None else tensor.shape
        raise LayoutError(f"{block.parameter}: expected {expected} (or its flattening), got {found}")
    if block.window is not None:
        _check_window(block.window, expected, tensor)


def _check_window(window: Window, sizes: tuple[int, ...], tensor: Parameter) -> None:
    aligned = window.sizes == sizes and len(window.strides) == len(sizes)
    if not aligned or min((window.offset, *window.strides)) < 0 or window.last >= tensor.size:
        raise LayoutError(f"{tensor.name}: {window} must have sizes {sizes} and lie in {tensor.size} numbers")


# -- every number is read by one owner -----------------------------------------------------------------------------


def _check_owners(layout: Layout) -> None:
    windows: dict[str, list[Window | None]] = {parameter.name: [] for parameter in layout.parameters}
    sharing = set()
    readers = [(group.bias, group) for group in layout.groups] + [(block.parameter, block) for block in layout.blocks]
    for name, reader in readers:
        if name is not None and reader.shared:
            sharing.add(name)
        elif name is not None:
            windows[name].append(reader.window)
    carried = {parameter.name for parameter in layout.parameters if parameter.dtype}
    if read := sorted(name for name in carried if windows[name] or name in sharing):
        raise LayoutError(f"{read} are carried along: no group or block may read them")
    if ownerless := sorted(name for name in sharing if not windows[name]):
        raise LayoutError(f"every reader of {ownerless} is shared; one of them must own the numbers")
    odd = [p.name for p in layout.parameters if p.name not in carried and not _once(windows[p.name], p.size)]
    if odd:
        raise LayoutError(f"every tensor must be read exactly once; check {odd}, and mark further readers as shared")


def _once(windows: list[Window | None], size: int) -> bool:
    """Whether windows (None: the whole) cover each of `size` numbers once; large ones must not overlap themselves."""
    if None in windows:
        return len(windows) == 1
    parts = [window for window in windows if window is not None]
    if sum(window.size for window in parts) != size:
        return False
    if len(parts) < 2 or size > MARKED:
        return all(distinct(window.sizes, window.strides) and _moves(window) for window in parts)
    return bool((np.bincount(np.concatenate([window.places for window in parts]), minlength=size) == 1).all())


def _moves(window: Window) -> bool:
    return all(n == 1 or stride for n, stride in zip(window.sizes, window.strides, strict=True))
