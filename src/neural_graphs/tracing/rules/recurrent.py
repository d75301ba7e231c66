"""Recurrent layers, written out for one step: what they remember is a group that becomes the hidden state."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from neural_graphs.errors import LayoutError
from neural_graphs.tracing.dims import Dim, unify
from neural_graphs.tracing.ops.combine import activate, combine, concat
from neural_graphs.tracing.ops.contract import contract
from neural_graphs.tracing.ops.recur import RecurOp, StateOp, several
from neural_graphs.tracing.registry import OpCall, rule
from neural_graphs.tracing.rules.linear import plus
from neural_graphs.tracing.tape import Tape
from neural_graphs.tracing.values import TracedTensor, fresh

Tensors = Sequence[TracedTensor]


def gates(
    tape: Tape, x: TracedTensor, state: TracedTensor, tensors: Tensors, count: int
) -> list[tuple[TracedTensor, TracedTensor]]:
    """What every gate reads of the input and of the state, with their biases: tensors as `nn.LSTM` packs them."""
    size = state.shape[-1]
    ends = [size * (gate + 1) for gate in range(count)]
    inward, across, *biases = [tape.parts(tensor, 0, ends) for tensor in tensors]
    found = []
    for gate in range(count):
        one = _times(tape, x, inward[gate])
        other = _times(tape, state, across[gate])
        if biases:
            one, other = plus(tape, one, biases[0][gate]), plus(tape, other, biases[1][gate])
        found.append((one, other))
    return found


def _times(tape: Tape, x: TracedTensor, weight: TracedTensor) -> TracedTensor:
    lead = [f"x{i}" for i in range(len(x.dims) - 1)]
    return contract(tape, x, weight, ((*lead, "in"), ("out", "in"), (*lead, "out")), "gate")


def _sum(tape: Tape, parts: tuple[TracedTensor, TracedTensor], kind: str) -> TracedTensor:
    total = combine(tape, "add", parts)
    return activate(tape, kind, total)


def _product(tape: Tape, *values: TracedTensor) -> TracedTensor:
    return combine(tape, "mul", values)


def lstm_step(tape: Tape, x: TracedTensor, state: TracedTensor, tensors: Tensors) -> TracedTensor:
    """The next hidden state of an LSTM, whose cell and hidden state are one group of what it remembers."""
    return lstm_states(tape, x, state, state, tensors)[0]


def lstm_states(
    tape: Tape, x: TracedTensor, state: TracedTensor, cell: TracedTensor, tensors: Tensors
) -> tuple[TracedTensor, TracedTensor]:
    """The next hidden state and the next cell of an LSTM."""
    kinds = ("sigmoid", "sigmoid", "tanh", "sigmoid")
    put, keep, new_, show = (_sum(tape, p, k) for p, k in zip(gates(tape, x, state, tensors, 4), kinds, strict=True))
    after = combine(tape, "add", [_product(tape, keep, cell), _product(tape, put, new_)])
    after.sole = False
    return _product(tape, show, activate(tape, "tanh", after)), after


def gru_step(tape: Tape, x: TracedTensor, state: TracedTensor, tensors: Tensors) -> TracedTensor:
    """The next hidden state of a GRU."""
    reset, update, (inward, across) = gates(tape, x, state, tensors, 3)
    kept = _product(tape, _sum(tape, reset, "sigmoid"), across)
    fresh_ = _sum(tape, (inward, kept), "tanh")
    return combine(tape, "add", [_product(tape, _sum(tape, update, "sigmoid"), state), fresh_])


def rnn_step(tape: Tape, x: TracedTensor, state: TracedTensor, tensors: Tensors, kind: str) -> TracedTensor:
    """The next hidden state of an Elman network."""
    ((inward, across),) = gates(tape, x, state, tensors, 1)
    return _sum(tape, (inward, across), kind)


STEPS: dict[str, Any] = {
    "lstm": lstm_step,
    "gru": gru_step,
    "rnn_tanh": partial(rnn_step, kind="tanh"),
    "rnn_relu": partial(rnn_step, kind="relu"),
}


@rule("aten.lstm.input", "aten.gru.input", "aten.rnn_tanh.input", "aten.rnn_relu.input")
def recurrent(
    call: OpCall, x: TracedTensor, initial: TracedTensor | Tensors, tensors: Tensors, biases: bool, layers: int,
    _: float, __: bool, both: bool, *___: Any,
) -> list[TracedTensor]:  # fmt: skip
    """All layers and directions; `initial` are the first states, `(layers · directions, networks, size)`."""
    tape, step = call.tape, STEPS[call.short]
    runs, per = (2 if both else 1), (4 if biases else 2)
    if len(tensors) != layers * runs * per:
        raise LayoutError("projected hidden states have no rule")
    starts = [initial] if isinstance(initial, TracedTensor) else list(initial)
    finals: list[TracedTensor] = []
    for layer in range(layers):
        outputs = []
        for run in range(runs):
            own = tensors[(layer * runs + run) * per :][:per]
            first = [tape.select(state, 0, layer * runs + run) for state in starts]
            outputs.append(_run(tape, x, own, step, first))
        finals += outputs
        x = outputs[0] if runs == 1 else concat(tape, outputs, -1)
    rest = [_final(tape, finals, shape) for shape in call.shapes[1:]]
    return [x, *rest]


@rule("aten.lstm_cell")
def lstm_cell(call: OpCall, x: TracedTensor, states: Tensors, *tensors: TracedTensor) -> list[TracedTensor]:
    return list(lstm_states(call.tape, x, states[0], states[1], tensors))


@rule("aten.gru_cell", "aten.rnn_tanh_cell", "aten.rnn_relu_cell")
def cell(call: OpCall, x: TracedTensor, state: TracedTensor, *tensors: TracedTensor) -> TracedTensor:
    found: TracedTensor = STEPS[call.short.removesuffix("_cell")](call.tape, x, state, tensors)
    return found


def _run(tape: Tape, x: TracedTensor, tensors: Tensors, step: Any, first: list[TracedTensor]) -> TracedTensor:
    across = tensors[1]
    state_dim: Dim = across.dims[1]
    state = tape.put(StateOp, (across,), (*x.dims[:-1], state_dim))
    for start in first:  # learned first states are tied to what they start
        unify(start.dims[-1], state_dim)
        if not start.raw:
            state = combine(tape, "add", [state, tape.same(start, (*(() for _ in start.dims[:-1]), state_dim))])
    after = step(tape, x, state, tensors)
    unify(after.dims[-1], state_dim)
    return tape.put(RecurOp, (state, after), after.dims)


def _final(tape: Tape, states: list[TracedTensor], shape: Sequence[int]) -> TracedTensor:
    """The last states of all layers, `(layers · directions, networks, size)`."""
    last = [tape.select(state, 0, 0) for state in states]  # of all steps, or of the first network where there are more
    return several(tape, [_networks(tape, state, shape[1:]) for state in last])


def _networks(tape: Tape, state: TracedTensor, shape: Sequence[int]) -> TracedTensor:
    """A state with the networks of the batch in front."""
    lead = fresh(shape[:-1], fixed=True)
    return tape.same(state, (*lead, state.dims[-1]))
