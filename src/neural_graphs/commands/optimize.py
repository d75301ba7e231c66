"""``neural-graphs optimize``: train a module of yours on images by a learned optimizer."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from neural_graphs.commands.graph import factory
from neural_graphs.commands.parser import positive, positive_number, safetensors_file, seed
from neural_graphs.commands.show import add_json, print_json
from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Trains what your function returns on a folder of labelled images, or a set with a name, and prints how it goes.

  neural-graphs optimize models:make_net --images fashion-mnist --shrink 2 --rule ng-t
  neural-graphs optimize models:make_net --images photos/ --rule my-rule/ --steps 500 --beside 1e-3

The rule is one that comes along (ng-t, the best; ng-gnn, half as dear; ff, the cheapest), a folder of save_rule, or
a run of meta-training. Those that come along were meta-trained on images of 14 × 14, as --shrink 2 makes of 28 × 28.
--beside trains the same module from the same start by Adam with that learning rate as well.
"""
FAR = 4  # times as many inputs as a rule was trained on are told; up to there it was measured


def add(commands: Any) -> None:
    """Adds ``optimize`` to the subparsers."""
    parser = commands.add_parser("optimize", help="train a module by a learned optimizer", description=DESCRIPTION)
    parser.add_argument("module", type=factory, metavar="PKG:FACTORY", help="your function that makes the module")
    parser.add_argument("--images", required=True, metavar="NAME", help="a name, such as fashion-mnist, or a folder")
    parser.add_argument("--rule", required=True, metavar="RULE", help="a rule, see above")
    parser.add_argument("--steps", type=positive, default=500, metavar="N", help="default: 500")
    parser.add_argument("--batch", type=positive, default=128, metavar="N", help="images in a step; default: 128")
    parser.add_argument("--every", type=positive, default=1, metavar="K", help="read the network each K-th step only")
    parser.add_argument("--shrink", type=positive, default=1, metavar="N", help="means of N × N pixels; default: 1")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the start and of the mini-batches")
    parser.add_argument(
        "--beside", type=positive_number, metavar="LR", help="train by Adam as well, with this learning rate"
    )
    parser.add_argument("--out", type=safetensors_file, metavar="FILE", help="write the trained tensors, .safetensors")
    add_json(parser)
    parser.set_defaults(command=optimize)


def optimize(arguments: Namespace) -> int:
    """Trains, and prints loss and test accuracy on the way."""
    import torch

    from neural_graphs.io.atomic import make_room, write_whole
    from neural_graphs.io.modules import make
    from neural_graphs.io.tensors import to_safetensors
    from neural_graphs.optim import LearnedOptimizer
    from neural_graphs.tasks import InnerTasks
    from neural_graphs.tracing import trace

    modules = []
    for _ in range(1 if arguments.beside is None else 2):
        torch.manual_seed(arguments.seed)
        modules.append(make(arguments.module))
    splits = InnerTasks(arguments.images, shrink=arguments.shrink, grey=False, held_out=1).splits
    like = next((each for each in modules[0].parameters() if each.is_floating_point()), splits.train.pixels)
    splits = splits.to(like.device, like.dtype)
    layout, rule = trace(modules[0], splits.train.pixels[:2]), _rule(arguments.rule)
    optimizers: dict[str, torch.optim.Optimizer]
    optimizers = {arguments.rule: LearnedOptimizer(rule, modules[0], layout, every=arguments.every)}
    if arguments.beside is not None:
        optimizers[f"Adam, {arguments.beside:g}"] = torch.optim.Adam(modules[1].parameters(), arguments.beside)
    _warn(rule, layout)
    if arguments.out:
        make_room(arguments.out)
    told = {
        name: _trained(name, module, optimizer, splits, arguments)
        for (name, optimizer), module in zip(optimizers.items(), modules, strict=True)
    }
    if arguments.out:
        write_whole(arguments.out, to_safetensors(modules[0].state_dict()))
    if arguments.json:
        print_json(told)
    return 0


def _warn(rule: Any, layout: Any) -> None:
    """Says on stderr where neurons have far more inputs than in the largest network that a rule was trained on."""
    known, most = rule.family.layout, int(layout.fan_in.max())
    if known is not None and most > FAR * (trained := int(known.fan_in.max())):
        print(
            f"neural-graphs: warning: neurons of this module have up to {most:,} inputs, those of the largest network "
            f"that the rule was trained on {trained:,}: it may do badly; smaller images (--shrink) make fewer inputs",
            file=sys.stderr,
        )


def _rule(name: str) -> Any:
    """The rule of a run, of a folder, or one that comes along."""
    from neural_graphs.optim import UpdateRule, load_rule

    if not (Path(name) / "config.yaml").is_file():
        return load_rule(name)
    from neural_graphs.tasks import load_run

    rule, _ = load_run(name)
    if not isinstance(rule, UpdateRule):
        raise ConfigError(f"{name} is a run of {type(rule).__name__}, which is no update rule; give a meta-training")
    return rule


def _trained(name: str, module: Any, optimizer: Any, splits: Any, arguments: Namespace) -> list[dict[str, Any]]:
    """Trains one module; a line for every report."""
    from neural_graphs.optim.training import train_module

    told: list[dict[str, Any]] = []
    options = {"steps": arguments.steps, "batch": arguments.batch, "seed": arguments.seed}
    for each in train_module(module, optimizer, splits.train, splits.test, **options):
        if not (told or arguments.json):
            print(f"{name}\n{'step':>8}{'loss':>10}{'test accuracy':>16}")
        told.append({"step": each.step, "loss": each.loss, "accuracy": each.accuracy})
        if not arguments.json:
            print(f"{each.step:8}{each.loss:10.4f}{100 * each.accuracy:14.2f} %", flush=True)
    return told
