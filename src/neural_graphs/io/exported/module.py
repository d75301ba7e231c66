"""`ExportedModule`: a program of `torch.export` as a torch module, run operator by operator."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neural_graphs.errors import CheckpointError, reason
from neural_graphs.io.exported.archive import DTYPES, SMALL, ExportedProgram, Json
from neural_graphs.io.modules import register
from neural_graphs.io.tensors import check_finite
from neural_graphs.tracing.registry import find, short

SKIPPED = frozenset(
    {"_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size", "sym_constrain_range"}
)
REGIONS = (
    "higher_order.wrap_with_set_grad_enabled",
    "higher_order.wrap_with_autocast",
)  # run as they stand: weights are traced, not trained
PYTHON = (
    "add",
    "sub",
    "mul",
    "floordiv",
    "truediv",
    "neg",
    "pow",
    "mod",
    "eq",
    "ne",
    "lt",
    "gt",
    "le",
    "ge",
    "getitem",
)
FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}


class ExportedModule(nn.Module):
    """A program; parameters and buffers keep their names, see `io.modules.register`.

    Operators are torch's own that tracing has a rule for, and public ones that take no words (a file's name, say); no
    other is called. Raises CheckpointError naming the operator for another one, and the tensor for one with NaN.
    """

    def __init__(self, program: ExportedProgram):
        super().__init__()
        weights = {key: program.tensors[arg] for arg, key in {**program.parameters, **program.buffers}.items()}
        check_finite(weights, program.path)
        self.program, self.names = program, dict[str, str]()
        tied: dict[int, nn.Parameter] = {}
        for arg, tensor in program.tensors.items():
            if arg in program.parameters:
                kept = tied.setdefault(id(tensor), nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))
                self.names[arg] = register(self, program.parameters[arg], kept)
            elif arg in program.buffers:
                self.names[arg] = register(self, program.buffers[arg], tensor)
            else:
                self.names[arg] = register(self, program.constants[arg], tensor, persistent=False)
        self.single = next((tensor.dtype for tensor in weights.values() if tensor.is_floating_point()), None)
        _check(program.graph, program)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the program, in its order, for its tensors of input in their order, flattened."""
        given = self.program.given
        if len(inputs) != len(given):
            raise CheckpointError(f"{self.program.path} takes {len(given)} inputs {given}, got {len(inputs)}")
        state = {**dict(self.named_parameters(remove_duplicate=False)), **dict(self.named_buffers())}
        values: dict[str, Any] = {arg: state[own] for arg, own in self.names.items()}
        values.update(zip(given, inputs, strict=True))
        self._run(self.program.graph, values)
        found = tuple(values[name] for name in self.program.answers)
        return found[0] if len(found) == 1 else found

    def _run(self, graph: Json, values: dict[str, Any]) -> None:
        """Run all nodes of a graph, and note what they make."""
        for node in graph["nodes"]:
            name = node["target"].removeprefix("torch.ops.")
            try:
                found = self._call(name, node, values)
            except CheckpointError:
                raise
            except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
                raise CheckpointError(f"{self.program.path}: {name} failed: {reason(error)}") from error
            _note(node["outputs"], found, values)

    def _call(self, name: str, node: Json, values: Mapping[str, Any]) -> Any:
        if short(name) in SKIPPED:
            return None
        if name in REGIONS:
            return self._region(node, values)
        named = {each["name"]: self._value(each["arg"], values) for each in node["inputs"]}
        function = _operator(name)
        assert function is not None  # checked when the module was made
        return function(**named) if name.startswith("aten.") else function(*named.values())

    def _region(self, node: Json, values: Mapping[str, Any]) -> list[Any]:
        """What a region of other settings makes, with the settings left out."""
        args = [each["arg"] for each in node["inputs"]]
        at = next(place for place, arg in enumerate(args) if "as_graph" in arg)
        graph, rest = args[at]["as_graph"]["graph"], [self._value(arg, values) for arg in args[at + 1 :]]
        inner = dict(zip((_named(each) for each in graph["inputs"]), rest, strict=True))
        self._run(graph, inner)
        return [self._value(each, inner) for each in graph["outputs"]]

    def _value(self, arg: Json, values: Mapping[str, Any]) -> Any:
        """An argument of an operator. Raises CheckpointError for a kind that no operator of a network takes."""
        ((kind, said),) = arg.items()
        match kind:
            case "as_none":
                return None
            case "as_tensor" | "as_name":
                return values[said["name"] if kind == "as_tensor" else said]
            case "as_tensors":
                return [values[each["name"]] for each in said]
            case "as_optional_tensor" | "as_sym_int" | "as_sym_float" | "as_sym_bool":
                return self._value(said, values)
            case "as_optional_tensors" | "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
                return [self._value(each, values) for each in said]
            case "as_int" | "as_bool" | "as_string" | "as_ints" | "as_bools":
                return said
            case "as_float" | "as_floats":  # infinite ones are words
                return float(said) if kind == "as_float" else [float(each) for each in said]
            case "as_scalar_type":
                return self._precision(DTYPES[said])
            case "as_memory_format":
                return FORMATS[said]
            case "as_layout" | "as_device":
                return torch.strided if kind == "as_layout" else torch.device("cpu")
        raise CheckpointError(f"{self.program.path}: an argument of kind {kind} is not known here")

    def _precision(self, kind: torch.dtype) -> torch.dtype:
        """The file's own precision is that of the module, which may have become double since."""
        kind = torch.float32 if kind in SMALL else kind
        now = next((p.dtype for p in self.parameters() if p.is_floating_point()), kind)
        return now if kind == self.single else kind


def _check(graph: Json, program: ExportedProgram) -> None:
    """Raise CheckpointError for an operator that is not called here, before any other is."""
    for node in graph["nodes"]:
        name = str(node["target"]).removeprefix("torch.ops.")
        inner = [each["arg"]["as_graph"]["graph"] for each in node["inputs"] if "as_graph" in each["arg"]]
        if name in REGIONS and len(inner) == 1:
            _check(inner[0], program)
        elif inner or not (_operator(name) or short(name) in SKIPPED):
            raise CheckpointError(
                f"{program.path}: the operator {name} is not run here, because it is none of torch's own for tensors; "
                "leave it out of the module that is exported, or save exported.run_decompositions()"
            )


def _operator(name: str) -> Callable[..., Any] | None:
    """An operator of torch or Python, `aten.relu.default` or `_operator.add`, or None for one that is not called."""
    room, _, rest = name.partition(".")
    if room == "_operator":
        return getattr(operator, rest) if rest in PYTHON else None
    if room != "aten" or rest.count(".") != 1:
        return None
    packet, overload = rest.split(".")
    found = getattr(getattr(torch.ops.aten, packet, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        return None
    words = any("str" in str(each.type) for each in found._schema.arguments)
    return found if find(name) is not None or not (words or packet.startswith("_")) else None


def _named(arg: Json) -> str:
    """The name of a value."""
    ((kind, said),) = arg.items()
    return said["name"] if kind == "as_tensor" else said["as_name"]


def _note(outputs: Sequence[Json], found: Any, values: dict[str, Any]) -> None:
    """Note what a node made under the names of its outputs."""
    several = (
        found if len(outputs) > 1 or (outputs and "as_tensor" in outputs[0] and isinstance(found, list)) else [found]
    )
    for said, value in zip(outputs, several, strict=False):
        ((kind, names),) = said.items()
        if kind == "as_tensors":
            values.update(zip((each["name"] for each in names), value, strict=True))
        elif kind != "as_none":
            values[_named(said)] = value
