"""From a module to a layout: export it to operators, apply a rule to each, and put together what they say.

module        ── torch.export ──▶  fx graph       operators, and the tensors of the state dict they read
fx graph      ── Tracer, rules ─▶  Tape           ops between traced tensors; unified dims move together
Tape          ── Op.lower ──────▶  LayoutBuilder  groups, blocks, and views: where neurons are in a tensor
LayoutBuilder ── build ─────────▶  Layout         groups in order, axes with names, an owner of every number
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from neural_graphs.errors import LayoutError, reason
from neural_graphs.layout import Layout, Parameter
from neural_graphs.layout.builders import from_shapes
from neural_graphs.networks.program import Inputs, Program, as_arguments, plain_attention, require_module
from neural_graphs.tracing import rules as rules
from neural_graphs.tracing.build import build, ordered
from neural_graphs.tracing.builder import LayoutBuilder
from neural_graphs.tracing.cache import recall, remember
from neural_graphs.tracing.canonical import proven
from neural_graphs.tracing.dims import freeze
from neural_graphs.tracing.group_values import GroupValues
from neural_graphs.tracing.registry import OpCall, find, knows_places, short
from neural_graphs.tracing.sources import ParamRef
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor, fresh
from neural_graphs.tracing.views import Views, views_of

UNIFORM = {
    f"{new}{name}{like}" for name in ("zeros", "ones", "full") for new, like in (("", ""), ("new_", ""), ("", "_like"))
}
IDLE = ("_assert", "sym_", "_guards", "_set_grad_enabled", "_enter_autocast", "_exit_autocast", "_local_scalar")


def trace(module: nn.Module, example_input: Inputs, *, output: Callable[[Any], Any] | None = None) -> Layout:
    """The layout of any module, with all permutations of its neurons that leave its function unchanged.

    `example_input` is a tensor, a tuple of positional arguments, or a mapping of keyword arguments; only its shapes
    matter. `output` chooses what counts as the answer of what the module returns (default: every tensor but the caches
    of decoders); whatever counts has an order that stays. The module is traced as in evaluation, and modules that are
    built alike have its layout from then on (`Networks.from_modules`) unless `output` was given. Empty tensors that
    nothing reads are carried along. Raises LayoutError for an operator without a rule, by name, for complex tensors,
    for inputs without a number, and for modules without parameters or that cannot be exported.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
        >>> layout = ng.trace(net, torch.zeros(1, 3, 8, 8))
        >>> [(atom.name, atom.size) for atom in layout.free_atoms]
        [('0', 8)]
    """
    program = Program(module, output)
    exported = export(program, example_input)
    tracer = Tracer(program.module, exported)
    outputs = tracer.walk(exported.graph_module, tracer.enter())
    layout, plain = tracer.build(outputs, program)
    if plain is not None and proven(plain, example_input):
        layout = plain
    elif isinstance(example_input, Tensor) and example_input.ndim:
        program.groups = tracer.group_values(len(example_input))
    if output is None:  # a chosen answer says nothing of the next module that is built alike
        remember(module, layout)
    return layout


def layout_of(module: nn.Module, example_input: Inputs | None) -> Layout:
    """The layout of a module built like one that was traced before, traced now, or read off its tensor shapes.

    Raises LayoutError for a module whose layout neither its shapes nor one that was traced tell.
    """
    require_module(module)
    known = recall(module, example_input)
    if known is not None:
        return known
    if example_input is not None:
        return trace(module, example_input)
    try:
        return from_shapes({name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})
    except LayoutError as error:
        raise LayoutError(
            f"the layout of {type(module).__name__} cannot be read off its tensor shapes ({error}); trace it: "
            "Networks.from_modules(modules, example_input=x)"
        ) from error


def export(program: Program, example_input: Inputs) -> ExportedProgram:
    """The operators of a module. Raises LayoutError where it cannot be written as a fixed list of them."""
    arguments, keywords = as_arguments(example_input)
    for leaf in pytree.tree_leaves((arguments, keywords)):
        if isinstance(leaf, Tensor) and not leaf.numel():
            raise LayoutError(
                f"an example input has shape {tuple(leaf.shape)} and holds nothing; give one row at least"
            )

    class Answer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = program.module  # so that the names of its tensors and modules begin with "own."

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            leaves = pytree.tree_leaves(program.pick(self.own(*args, **kwargs)))
            return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))

    try:
        with plain_attention(), torch.enable_grad(), _quiet():
            return torch.export.export(Answer().eval(), arguments, keywords, strict=False)
    except Exception as error:  # export raises many kinds
        raise LayoutError(
            f"{type(program.module).__name__} cannot be traced: {reason(error, 300)} ({type(error).__name__}); the "
            "example input does not fit it, or its operators depend on the values it is given"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what export says about recurrent layers, and what it prints and logs of a module that it gives up on."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            log.disabled = before


class Tracer:
    """Goes through the operators of one module, and knows the tensors of its state dict."""

    def __init__(self, module: nn.Module, exported: ExportedProgram):
        self.module, self.exported, self.tape = module, exported, Tape()
        self.names: dict[int, str] = {}  # the first name of every tensor, by its identity
        self.parameters: dict[str, Parameter] = {}
        buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)}
        for name, tensor in module.state_dict(keep_vars=True).items():
            if tensor.is_complex():
                raise LayoutError(f"{name} holds complex numbers, but weights are real; keep torch.view_as_real of it")
            first = self.names.setdefault(id(tensor), name)
            if first != name:
                known = self.parameters[first]
                self.parameters[first] = replace(known, also=(*known.also, name))
                continue
            kind = str(tensor.dtype).removeprefix("torch.")
            if tensor.is_floating_point():
                kind = "" if tensor.numel() else "float"  # an empty one is carried along
            self.parameters[name] = Parameter(name, tuple(tensor.shape), name in buffers, (), kind)
        if not self.parameters:
            raise LayoutError(
                f"{type(module).__name__} has no parameters, and graphs are made of them; trace one that has"
            )
        self.builder, self.nodes = LayoutBuilder(), dict[str, TracedTensor]()  # nodes: of the whole graph, by name
        self.values = {
            name: TracedTensor(fresh(p.shape), stored=True) for name, p in self.parameters.items() if not p.dtype
        }

    def enter(self) -> dict[str, Any]:
        """The values of everything the exported graph starts from, by the name of its placeholder."""
        signature = self.exported.graph_signature
        tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        user = set(signature.user_inputs)
        state = self.module.state_dict(keep_vars=True)
        found: dict[str, Any] = {}
        for node in self.exported.graph.nodes:
            if node.op != "placeholder":
                continue
            value, name = node.meta.get("val"), tensors.get(node.name, "").removeprefix("own.")
            first = self.names.get(id(state[name])) if name in state else None
            if first in self.values:
                found[node.name] = self.values[first]
            elif isinstance(value, Tensor):
                found[node.name] = self.tape.constant(value.shape, node.name in user)
            else:
                found[node.name] = None
        for value in self.values.values():
            self.tape.record.see(*value.dims)
        return found

    def walk(self, graph: fx.GraphModule, entering: Mapping[str, Any]) -> list[TracedTensor]:
        """Apply a rule to every operator; returns the values of the outputs."""
        known: dict[fx.Node, Any] = {}
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                known[node] = entering[node.name]
                self._name(graph, node, known[node])
            elif node.op == "get_attr":
                known[node] = self._attribute(graph, node)
            elif node.op == "call_function":
                known[node] = self._call(node, known)
                self._see(node, known[node])
                self._name(graph, node, known[node])
            elif node.op == "output":
                return [known[n] if isinstance(n, fx.Node) else n for n in pytree.tree_leaves(node.args[0])]
        return []

    def _name(self, graph: fx.GraphModule, node: fx.Node, value: Any) -> None:
        if graph is self.exported.graph_module and isinstance(value, TracedTensor):
            self.nodes[node.name] = value

    def _attribute(self, graph: fx.GraphModule, node: fx.Node) -> Any:
        found: Any = graph
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return self.tape.constant(found.shape) if isinstance(found, Tensor) else found

    def _call(self, node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
        operator = _name(node)
        found: Any = fx.node.map_arg((node.args, dict(node.kwargs)), lambda n: known[n])
        args, kwargs = found
        self.tape.name = _place(node)
        inner = next((arg for arg in args if isinstance(arg, fx.GraphModule)), None)
        if inner is not None:  # a region with other settings of autograd or autocast
            values = list(args[args.index(inner) + 1 :])
            names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
            return self.walk(inner, dict(zip(names, values, strict=True)))
        shapes = _shapes(node)
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, TracedTensor)]
        function = find(operator)
        if any(idle in operator for idle in IDLE):
            return None
        if operator == "getitem":
            return args[0][args[1]] if args[0] is not None else None
        if all(value.raw for value in tensors):
            return self._untouched(node, function, tensors, args, kwargs)
        if short(operator) in UNIFORM:
            return self.tape.uniform(shapes[0])
        if function is None:
            raise LayoutError(
                f"the operator {operator} ({self.tape.name}) has no rule, and none is guessed; add one with "
                f'@neural_graphs.tracing.rule("{operator}"), see neural_graphs.tracing.registry.rule'
            )
        self._require_numbers(node)
        _settle(tensors if not knows_places(operator) else [])
        try:
            return function(OpCall(self.tape, operator, shapes), *args, **kwargs)
        except LayoutError as error:
            raise LayoutError(f"{operator} ({self.tape.name}): {error}") from error

    def _require_numbers(self, node: fx.Node) -> None:
        """Raise LayoutError for an operator that joins parameters and one of no numbers."""
        names = [name for name, p in self.parameters.items() if 0 in p.shape]
        shapes = [shape for each in node.all_input_nodes for shape in _shapes(each)] if names else []
        if empty := [shape for shape in shapes if 0 in shape]:
            raise LayoutError(
                f"{_name(node)} ({self.tape.name}) reads a tensor of shape {empty[0]}, which has no numbers; leave it "
                f"out of the module (empty there: {', '.join(names)})"
            )

    def _untouched(self, node: fx.Node, function: Any, tensors: list[TracedTensor], args: Any, kwargs: Any) -> Any:
        """What no parameter has touched: followed where there is a rule, else dimensions that stay as they are."""
        operator, shapes, given = _name(node), _shapes(node), any(value.given for value in tensors)
        try:
            found = function(OpCall(self.tape, operator, shapes), *args, **kwargs) if function is not None else None
            every = found if isinstance(found, list) else [found]
            if [value.shape for value in every if isinstance(value, TracedTensor)] == list(shapes):
                return found
        except LayoutError:
            pass  # it may do what it likes with constants
        uniform = short(operator) in UNIFORM
        made = [self.tape.uniform(shape) if uniform else self.tape.constant(shape, given) for shape in shapes]
        return made[0] if isinstance(node.meta.get("val"), Tensor) else made

    def _see(self, node: fx.Node, found: Any) -> None:
        values = [
            leaf for leaf in (found if isinstance(found, list | tuple) else [found]) if isinstance(leaf, TracedTensor)
        ]
        for value in values:
            value.sole = value.sole and (len(node.users) == 1 or len(values) > 1)
            self.tape.record.see(*value.dims)
        expected = _shapes(node)
        if isinstance(node.meta.get("val"), Tensor) and values and values[0].shape != expected[0]:
            raise LayoutError(f"the rule for {_name(node)} made {values[0].shape}, expected {expected[0]}")

    def group_values(self, points: int) -> GroupValues:
        """What reads the values of single groups, once `build` has put them together."""
        return GroupValues(self.exported, self.nodes, self.builder, ordered(self.builder), points)

    def build(self, outputs: list[TracedTensor], program: Program) -> tuple[Layout, Layout | None]:
        """Put together what the rules said."""
        answers = [value for value in outputs if isinstance(value, TracedTensor)]
        _settle(answers)
        for value in answers:
            for term in value.dims:
                freeze(term)
        builder = self.builder
        stored = {name: ParamRef(name, p.shape, p.buffer) for name, p in self.parameters.items() if not p.dtype}
        for name, value in self.values.items():
            builder.known[value] = views_of(stored[name], value.dims)
        for op in self.tape.ops:
            builder.name = op.name
            builder.known[op.output] = op.lower(builder)
        found: list[Views] = [builder.views(value) for value in answers]
        dims = {name: value.dims for name, value in self.values.items()}
        within = self.tape.record.within()
        return build(builder, found, list(self.parameters.values()), stored, dims, within, program)


def _name(node: fx.Node) -> str:
    """The operator's name: `aten.relu.default`, or `getitem`."""
    name = str(node.target)
    return name if "." in name and "built-in" not in name else getattr(node.target, "__name__", name)


def _settle(values: Iterable[TracedTensor]) -> None:
    """Numbers that name places are read as numbers: the places are fixed by that."""
    for value in values:
        freeze(value.choice.places if value.choice else ())


def _shapes(node: fx.Node) -> tuple[tuple[int, ...], ...]:
    found = node.meta.get("val")
    every = found if isinstance(found, list | tuple) else [found]
    found = [each.shape for each in every if isinstance(each, Tensor)]
    if any(not isinstance(count, int) for shape in found for count in shape):
        raise LayoutError(
            f"{_name(node)} ({_place(node)}): how many numbers it makes depends on the values it is given; let every "
            "part see all points, and multiply by 0 what was not chosen (experts: zeros.scatter(-1, chosen, weights))"
        )
    return tuple(map(tuple, found))


def _place(node: fx.Node) -> str:
    """Where in the module an operator stands: the innermost module's name, or the operator's own."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    paths = [str(entry[0]) for entry in stack if str(entry[0])]
    name = paths[-1].removeprefix("L__self___").removeprefix("own").lstrip("._") if paths else ""
    return name or short(_name(node))
