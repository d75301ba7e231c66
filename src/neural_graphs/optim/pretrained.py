"""Update rules on disk: a folder with `rule.json` and `rule.safetensors`; those in `pretrained/` come along."""

from pathlib import Path

import torch

from neural_graphs.errors import CheckpointError, ConfigError
from neural_graphs.graph import AllPairs, Bidirectional, Forward, Looped
from neural_graphs.io.atomic import write_whole
from neural_graphs.io.documents import read_json, reading, within, write_json
from neural_graphs.io.tensors import read_tensors, to_safetensors
from neural_graphs.layout.layout import KINDS
from neural_graphs.layout.recorded import arguments_of
from neural_graphs.layout.serialise import from_json, to_json
from neural_graphs.nn.spec import InputSpec
from neural_graphs.optim import graph_rules as graph_rules  # so that their classes are known
from neural_graphs.optim import tensor_rules as tensor_rules
from neural_graphs.optim.update_rule import Decay, Refinements, UpdateRule

CARRIED = Path(__file__).with_name("pretrained")  # a folder each
DESCRIPTION, TENSORS = "rule.json", "rule.safetensors"
AGAIN = "copy the folder again, or save the rule again"
ARGUMENTS = (
    InputSpec,
    Refinements,
    Decay,
    Forward,
    Bidirectional,
    Looped,
    AllPairs,
    *KINDS,
)  # kinds of values a rule is made with


def save_rule(rule: UpdateRule, folder: str | Path) -> Path:
    """Write a rule into a folder, from which `load_rule` makes an equal one; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / TENSORS, to_safetensors(rule.state_dict()))
    arguments = {name: to_json(value) for name, value in arguments_of(rule).items()}
    write_json(folder / DESCRIPTION, {"rule": type(rule).__name__, "arguments": arguments})
    return folder


def load_rule(name_or_folder: str | Path) -> UpdateRule:
    """The rule in a folder, or one that comes with the library, by its name; in evaluation mode.

    Raises ConfigError for an unknown name and for a rule of an unknown class (import the module that defines it first),
    CheckpointError for damaged files.
    """
    folder = _folder(name_or_folder)
    description = folder / DESCRIPTION
    content = read_json(description, CheckpointError, AGAIN)
    with reading(description, CheckpointError, AGAIN):
        name, arguments = within(content, "rule"), dict(within(content, "arguments"))
        values = {key: from_json(value, ARGUMENTS) for key, value in arguments.items()}
    if name not in UpdateRule.KNOWN:
        known = ", ".join(sorted(UpdateRule.KNOWN))
        raise ConfigError(f"{description}: unknown rule {name!r}; import the module that defines it first ({known})")
    with reading(description, CheckpointError, AGAIN), torch.random.fork_rng(devices=[]):
        rule = UpdateRule.KNOWN[name](**values)  # draws numbers that are then replaced
    tensors = read_tensors(folder / TENSORS)
    precision = next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())
    with reading(folder / TENSORS, CheckpointError, AGAIN):
        try:
            rule.to(precision).load_state_dict(tensors)
        except RuntimeError as error:  # of torch: names or shapes that do not fit
            raise ValueError(" ".join(str(error).split())) from error
    return rule.eval()


def _folder(name_or_folder: str | Path) -> Path:
    for folder in (Path(name_or_folder), CARRIED / name_or_folder):
        if (folder / DESCRIPTION).is_file():
            return folder
    known = sorted(path.parent.name for path in CARRIED.glob(f"*/{DESCRIPTION}"))
    carried = f"one of {', '.join(known)}" if known else "none is carried by this version"
    raise ConfigError(f"{name_or_folder} is neither a folder of save_rule nor the name of a rule ({carried})")
