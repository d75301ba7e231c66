"""Operators that treat every number by itself, or numbers of several tensors place by place."""

from typing import Any

from neural_graphs.layout.kinds import activation_name
from neural_graphs.tracing.dims import freeze
from neural_graphs.tracing.ops.combine import activate, combine, concat, suffer
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.sources import Effect, Scale, Shift, Unknown
from neural_graphs.tracing.values import TracedTensor

SILENT = (
    "contiguous clone to detach dropout alias lift_fresh_copy type_as _to_copy feature_dropout feature_alpha_dropout"
    " alpha_dropout positive"
)
KINDS = (
    "relu gelu silu tanh sigmoid sin cos exp neg rsqrt sqrt leaky_relu hardswish hardsigmoid hardtanh relu6 elu selu"
    " celu softplus softsign abs square reciprocal erf erfc log log1p log2 expm1 mish sign floor ceil round clamp"
    " clamp_min clamp_max logical_not bitwise_not isnan isinf log_sigmoid logit threshold hardshrink softshrink tan"
    " atan nan_to_num"
)
ALSO = {"relu6": "hardtanh", "clamp_min": "clamp", "clamp_max": "clamp"}  # operators of one kind
SUMS = "add sub rsub"
PRODUCTS = "mul div"
OTHERS = (
    "maximum minimum where masked_fill pow eq ne gt lt ge le __and__ __or__ bitwise_and bitwise_or logical_and"
    " logical_or atan2 fmod remainder lerp xlogy"
)


def named(names: str) -> list[str]:
    """Full names of operators and of their in-place forms."""
    return [f"aten.{name}{end}" for name in names.split() for end in ("", "_")]


@rule(*named(SILENT), places=True)
def silent(call: OpCall, x: TracedTensor, *_: Any, **__: Any) -> TracedTensor:
    return call.tape.same(x, x.dims)


@rule(*named(KINDS))
def pointwise(call: OpCall, x: TracedTensor, *_: Any, **__: Any) -> TracedTensor:
    if call.short == "neg":
        return suffer(call.tape, x, Scale(-1.0))
    return activate(call.tape, ALSO.get(call.short, activation_name(call.short)), x)


@rule(*named(SUMS))
def sums(call: OpCall, *args: Any, **options: Any) -> TracedTensor:
    return _several(call, "add", args, options)


@rule(*named(PRODUCTS))
def products(call: OpCall, *args: Any, **options: Any) -> TracedTensor:
    return _several(call, "mul", args, options)


@rule(*named(OTHERS))
def others(call: OpCall, *args: Any, **options: Any) -> TracedTensor:
    return _several(call, call.short, args, options)


def _several(call: OpCall, kind: str, args: Any, options: dict[str, Any]) -> TracedTensor:
    values = [arg for arg in args if isinstance(arg, TracedTensor)]
    if len(values) == 1 and kind in ("add", "mul"):
        number = args[1] if args[0] is values[0] else args[0]
        for effect in _effects(call.short, number, args[0] is values[0], options):
            values = [suffer(call.tape, values[0], effect)]
        return values[0]
    return activate(call.tape, kind, values[0]) if len(values) == 1 else combine(call.tape, kind, values)


def _effects(operator: str, number: Any, first: bool, options: dict[str, Any]) -> list[Effect]:
    """What a number does to neurons; `first`: it comes behind them (`x − 1`), not before (`1 − x`)."""
    if options or not isinstance(number, int | float):
        return [Unknown()]
    if operator == "mul":
        return [Scale(float(number))]
    if operator == "div":
        return [Scale(1 / number)] if first and number else [Unknown()]
    if operator == "add":
        return [Shift(float(number))]
    if (operator == "sub") == first:
        return [Shift(-float(number))]
    return [Scale(-1.0), Shift(float(number))]


@rule("aten.addcmul", "aten.addcdiv")
def scaled_sum(call: OpCall, x: TracedTensor, one: TracedTensor, other: TracedTensor, **_: Any) -> TracedTensor:
    return combine(call.tape, "add", [x, combine(call.tape, "mul", [one, other])])


@rule("aten.prelu", "aten._prelu_kernel")
def prelu(call: OpCall, x: TracedTensor, weight: TracedTensor) -> TracedTensor:
    if len(weight.dims) == 1 and len(x.dims) > 1 and weight.shape[0] > 1:
        for _ in range(len(x.dims) - 2):
            weight = call.tape.insert(weight, -1)
    return activate(call.tape, "prelu", combine(call.tape, "mul", [x, weight]))


@rule("aten.glu")
def glu(call: OpCall, x: TracedTensor, dim: int = -1) -> TracedTensor:
    half = x.shape[dim] // 2
    value, gate = call.tape.parts(x, dim, [half, 2 * half])
    return combine(call.tape, "mul", [value, activate(call.tape, "sigmoid", gate)])


@rule("aten.softmax", "aten._softmax", "aten.log_softmax", "aten._log_softmax", "aten._safe_softmax")
def softmax(call: OpCall, x: TracedTensor, dim: int, *_: Any) -> TracedTensor:
    call.tape.record.see(*(term for place, term in enumerate(x.dims) if place != x.place(dim)))
    return activate(call.tape, call.short.lstrip("_"), x)


@rule("aten.cumsum", "aten.cumprod", "aten.flip", "aten.roll", "aten.triu", "aten.tril")
def ordered(call: OpCall, x: TracedTensor, dims: Any = (), *more: Any) -> TracedTensor:
    if call.short == "roll":
        dims = more[0] if more else range(len(x.dims))
    if call.short in ("triu", "tril"):
        dims = (-1, -2)
    for dim in [dims] if isinstance(dims, int) else dims:
        freeze(x.dims[dim])
    x = suffer(call.tape, x, Unknown()) if call.short == "cumprod" else x
    return call.tape.same(x, x.dims)


@rule("aten.cat", "aten.concat", "aten.concatenate")
def cat(call: OpCall, tensors: list[TracedTensor], dim: int = 0) -> TracedTensor:
    kept = [value for value in tensors if value.shape != (0,)]
    return concat(call.tape, kept, dim)


@rule("aten.stack")
def stack(call: OpCall, tensors: list[TracedTensor], dim: int = 0) -> TracedTensor:
    dim %= len(tensors[0].dims) + 1
    return concat(call.tape, [call.tape.insert(value, dim) for value in tensors], dim)
