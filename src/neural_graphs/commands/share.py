"""``neural-graphs share``: a run, or a zoo, in the form that others read it in."""

from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neural_graphs.errors import ConfigError

DESCRIPTION = """\
Writes the best checkpoint of a run into a folder: config.json, model.safetensors, a model card with its figures, and
the intervals of a predictor of accuracies. Whoever has the folder uses it without the run and its zoo. With
hub://OWNER/NAME the folder, or a whole zoo, is pushed to the Hugging Face Hub (extra `hub`; log in: hf auth login).

  neural-graphs share runs/digits_nggnn shared/digits
  neural-graphs predict --pretrained shared/digits net.safetensors
  neural-graphs share runs/digits_nggnn hub://owner/digits
  neural-graphs share zoos/digits hub://owner/digits-zoo
"""
HUB = "hub:"


def add(commands: Any) -> None:
    """Adds ``share`` to the subparsers."""
    parser = commands.add_parser(
        "share", help="hand a trained metanetwork, or a zoo, to others", description=DESCRIPTION
    )
    parser.add_argument("source", type=Path, metavar="RUN|ZOO", help="folder of a trained run, or of a zoo")
    parser.add_argument("place", metavar="DIR|hub://OWNER/NAME", help="folder to write, or place on the Hub")
    parser.add_argument("--licence", default="mit", metavar="NAME", help="of the metanetwork; default: %(default)s")
    parser.add_argument("--private", action="store_true", help="on the Hub: for you alone")
    parser.set_defaults(command=share)


def share(arguments: Namespace) -> int:
    """Shares a run or a zoo, and says where it is."""
    from neural_graphs import tasks

    pushed = arguments.place.startswith(HUB)
    if arguments.private and not pushed:
        raise ConfigError(f"--private is for the Hub, but {arguments.place} is a folder; say hub://OWNER/NAME")
    if not pushed:
        print(f"{tasks.share(arguments.source, arguments.place, arguments.licence).folder}: use it with --pretrained")
        return 0
    from neural_graphs.zoo.remote import is_zoo

    if is_zoo(arguments.source):
        from neural_graphs.zoo import Zoo

        print(Zoo(arguments.source).push_to_hub(arguments.place, private=arguments.private))
        return 0
    with TemporaryDirectory() as folder:
        shared = tasks.share(arguments.source, folder, arguments.licence)
        print(shared.push_to_hub(arguments.place, private=arguments.private))
    return 0
