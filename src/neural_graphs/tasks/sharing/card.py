"""The model card of a shared metanetwork: what it reads, what it reaches, how it was made."""

from collections.abc import Sequence
from typing import Any

import yaml

from neural_graphs.layout import Layout
from neural_graphs.layout.recorded import Recorded, arguments_of, call
from neural_graphs.nn.shareable import Shareable, family_of
from neural_graphs.nn.spec import InputSpec
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.editing import Editing
from neural_graphs.tasks.generalization.task import Generalization
from neural_graphs.tasks.task import Task

SHOWN = 5  # layouts
COMMAND: dict[type[Task], str] = {Classification: "predict", Generalization: "rank", Editing: "edit"}
CARD = """\
---
license: {licence}
library_name: neural-graphs
tags: [neural-graphs, metanetwork, weight-space-learning]
---
# {title}

A network that reads networks, made with [neural-graphs](https://pypi.org/project/neural-graphs/).

## Use

```
{use}
```

## Figures

{figures}

## Networks that it reads

{family}

## How it was made

```yaml
{made}```
"""


def card(made: Task | Shareable, metanetwork: Recorded, content: dict[str, Any], said: Sequence[str]) -> str:
    """The card as Markdown; `content` is that of its configuration, `said` its figures in words."""
    name = type(metanetwork).__name__
    title = f"{name}, trained for {type(made).__name__}" if isinstance(made, Task) else name
    facts = {key: content[key] for key in ("recipe", "versions")}
    facts = {
        "metanetwork": _options(metanetwork),
        **({"task": _options(made)} if isinstance(made, Task) else {}),
        **facts,
    }
    return CARD.format(
        licence=content["licence"],
        title=title,
        use=_use(made, name),
        figures="\n".join(f"* {sentence}" for sentence in said) or "None were measured.",
        family=_family(metanetwork, content["layouts"]),
        made=yaml.safe_dump(facts, sort_keys=False, allow_unicode=True),
    )


def _use(made: Task | Shareable, name: str) -> str:
    lines = [f"{name}.from_pretrained(PLACE)    # in Python: this folder, or owner/name of the Hub"]
    command = next((word for kind, word in COMMAND.items() if isinstance(made, kind)), None)
    out = " --out edited.safetensors" if command == "edit" else ""
    return "\n".join(
        [*([f"neural-graphs {command} --pretrained PLACE net.safetensors{out}"] if command else []), *lines]
    )


def _family(metanetwork: Recorded, layouts: Sequence[Any]) -> str:
    """The bounds that hold for the networks, and some of their layouts."""
    family = family_of(metanetwork)
    told = [f"`{format(Layout.from_json(each))}`" for each in layouts[:SHOWN]]
    told += [f"and {len(layouts) - SHOWN:,} layouts more"] if len(layouts) > SHOWN else []
    if family is not None:
        kinds = ", ".join(family.activations) or "none"
        told.append(
            f"at most {family.inputs} inputs, {family.hidden_groups} hidden groups (activations: {kinds}),"
            f" {family.outputs} outputs and {family.size:,} parameters"
        )
    return "\n".join(f"* {line}" for line in told)


def _options(made: Recorded) -> dict[str, Any]:
    """The class and its arguments, as plain values."""
    arguments = {name: value for name, value in arguments_of(made).items() if not isinstance(value, InputSpec)}
    plain = {name: _plain(value) for name, value in arguments.items() if name != "metanetwork"}
    return {"class": type(made).__name__, **plain}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Recorded):
        return call(value) if family_of(value) is None else _options(value)  # a metanetwork in a metanetwork
    return value if isinstance(value, str | int | float | None) else repr(value)
