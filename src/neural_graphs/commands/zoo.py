"""``neural-graphs zoo …``: grow, describe, show, check and import zoos."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_graphs.commands import show
from neural_graphs.commands.parser import Parser, positive, same_command, seed
from neural_graphs.commands.zoo_import import add_import
from neural_graphs.errors import ConfigError, ZooError

if TYPE_CHECKING:  # heavy
    from neural_graphs.zoo import Zoo

GROW = """\
Fits one small implicit network to each image. Interrupted, the same command goes on where it stopped and ends with the
same bytes; a larger --count grows the zoo further.

  neural-graphs zoo grow inr --images fashion-mnist --preset dws2023 --count 20000 --seed 0 --out zoos/fmnist

Images: digits (scikit-learn's, always there), photos (32×32 in colour, with the extra colour), mnist, fashion-mnist,
cifar10, svhn, or a folder of IDX files, CIFAR binaries or pictures. Presets: dws2023, nfn2023, siren2020 (as
published), fast (ours: better fits in less time), same-start (ours, for small images: all networks start from the same
values).
"""
GROW_CNN = """\
Trains many small CNNs on labelled images and keeps their checkpoints with the train and test accuracy of each.
Interrupted, the same command goes on where it stopped; a larger --count grows the zoo further.

  neural-graphs zoo grow cnn --recipe small-cnn-mini --images fashion-mnist --count 2000 --seed 0 --out zoos/small

Recipes: small-cnn (one architecture, hyper-parameters at random), wild-park (an architecture at random for each), both
as published and made for large machines; small-cnn-mini, wild-park-mini (the same on fewer and smaller images, for
fewer epochs). Images: mnist, fashion-mnist, cifar10, svhn, or a folder of IDX files or CIFAR binaries.
"""
SHOW = """\
Draws networks, evenly spaced in the zoo, beside the images they were fitted to; or, into a file that ends in .html, a
page that opens anywhere: networks to filter by split, label and quality, and histograms of all that the table holds.

  neural-graphs zoo show zoos/digits --where 'label == 3'
  neural-graphs zoo show zoos/park --out park.html
"""
RECIPE = ("kind", "preset", "recipe", "images", "seed", "copies", "shares")  # of the manifest, shown by `zoo info`
PICTURED = 40  # networks in a picture
MANY_LABELS = 12
MANY_LAYOUTS = 6
MANY_SKIPPED = 10


def add(commands: Any) -> None:
    """Adds ``zoo`` and its own commands to the subparsers."""
    parser = commands.add_parser("zoo", help="grow, describe, show, check and import zoos of networks")
    actions = parser.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
    _add_grow(actions.add_parser("grow", help="fit networks to images"))
    _add_info(actions.add_parser("info", help="what a zoo holds"))
    _add_show(actions.add_parser("show", help="draw networks beside their images"))
    _add_check(actions.add_parser("check", help="verify every byte: sizes, checksums, finite values"))
    add_import(actions.add_parser("import", help="convert published zoos, or checkpoints of your own"))


def _add_grow(parser: Parser) -> None:
    kinds = parser.add_subparsers(metavar="KIND", required=True, parser_class=Parser)
    inr = kinds.add_parser("inr", help="implicit networks: coordinates in, pixel out", description=GROW)
    inr.add_argument("--images", required=True, metavar="NAME|DIR", help="see above")
    inr.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the zoo")
    inr.add_argument("--preset", default="dws2023", metavar="NAME", help="default: dws2023")
    inr.add_argument("--count", type=positive, metavar="N", help="networks in all; default: one per image and copy")
    inr.add_argument("--seed", type=seed, default=0, metavar="N", help="the same seed, the same bytes; default: 0")
    inr.add_argument("--copies", type=positive, metavar="N", help="networks per training image; default: the preset's")
    inr.add_argument(
        "--shares",
        type=int,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help="weights of the splits; default: every image, a twelfth of the training images for validation",
    )
    inr.add_argument(
        "--hidden", type=positive, nargs="+", default=[32, 32], metavar="N", help="hidden neurons; default: 32 32"
    )
    inr.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 …; default: cpu")
    inr.add_argument(
        "--engine", choices=("process", "ray"), help="grow shards side by side, as for cnn; default: threads share one"
    )
    inr.add_argument("--workers", type=positive, default=2, metavar="N", help="on the CPU; default: 2")
    inr.set_defaults(command=grow_inr, goes_on=same_command)
    _add_cnn(kinds.add_parser("cnn", help="convolutional networks that classify images", description=GROW_CNN))


def _add_cnn(cnn: Parser) -> None:
    cnn.add_argument("--recipe", required=True, metavar="NAME", help="see above")
    cnn.add_argument("--images", required=True, metavar="NAME|DIR", help="see above")
    cnn.add_argument("--count", required=True, type=positive, metavar="N", help="networks, each with its checkpoints")
    cnn.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the zoo")
    cnn.add_argument("--seed", type=seed, default=0, metavar="N", help="the same seed, the same bytes; default: 0")
    cnn.add_argument(
        "--engine",
        choices=("process", "ray"),
        default="process",
        help="processes here, or the Ray cluster that RAY_ADDRESS names (none: one that begins here); default: process",
    )
    cnn.add_argument("--workers", type=positive, default=2, metavar="N", help="shards grown at a time; default: 2")
    cnn.set_defaults(command=grow_cnn, goes_on=same_command)


def _add_info(parser: Parser) -> None:
    parser.add_argument("zoo", type=Path, metavar="DIR")
    show.add_json(parser)
    parser.set_defaults(command=info)


def _add_show(parser: Parser) -> None:
    parser.description = SHOW
    parser.add_argument("zoo", type=Path, metavar="DIR")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="picture, or .html, to write; default: DIR-sheet.png beside DIR"
    )
    parser.add_argument(
        "--count", type=positive, metavar="N", help="networks drawn; default: 40 in a picture, 240 on a page"
    )
    parser.add_argument(
        "--where", metavar="QUERY", help="only these, for example 'label == 3 and (psnr > 20 or split == val)'"
    )
    parser.set_defaults(command=sheet)


def _add_check(parser: Parser) -> None:
    parser.add_argument("zoo", type=Path, metavar="DIR")
    parser.set_defaults(command=check)


def grow_inr(arguments: Namespace) -> int:
    """Grows a zoo of implicit networks."""
    from neural_graphs.zoo import grow_inrs, preset
    from neural_graphs.zoo.engines import ENGINES

    _check_device(arguments.device)
    with show.bar("networks") as tick:
        zoo = grow_inrs(
            arguments.out,
            arguments.images,
            preset(arguments.preset),
            count=arguments.count,
            seed=arguments.seed,
            copies=arguments.copies,
            shares=arguments.shares,
            hidden=arguments.hidden,
            device=arguments.device,
            workers=arguments.workers,
            engine=None if arguments.engine is None else ENGINES[arguments.engine](arguments.workers),
            progress=tick,
        )
    print(zoo)
    return 0


def grow_cnn(arguments: Namespace) -> int:
    """Grows a zoo of CNNs."""
    from neural_graphs.zoo.engines import ENGINES
    from neural_graphs.zoo.recipes import cnn_recipe, grow_cnns

    with show.bar("networks") as tick:
        zoo = grow_cnns(
            arguments.out,
            arguments.images,
            cnn_recipe(arguments.recipe),
            count=arguments.count,
            seed=arguments.seed,
            engine=ENGINES[arguments.engine](arguments.workers),
            progress=tick,
        )
    print(zoo)
    return 0


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # unknown to torch, not built in, not there
        raise ConfigError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from error


def info(arguments: Namespace) -> int:
    """Prints what a zoo holds; an unfinished one too."""
    from neural_graphs.zoo import Zoo
    from neural_graphs.zoo import info as facts_of

    facts = facts_of(Zoo(arguments.zoo, partial=True))
    if arguments.json:
        show.print_json(facts)
        return 0
    print("\n".join(_describe(facts)))
    return 0


def _describe(facts: Mapping[str, Any]) -> list[str]:
    """What a zoo holds, as lines for the terminal."""
    done = facts["networks"] + len(facts["skipped"])
    unfinished = "" if done >= facts["planned"] else f" of {facts['planned']:,} planned: unfinished"
    lines = [f"{facts['path']}: {facts['networks']:,} networks{unfinished}, {facts['bytes'] / 1e6:,.1f} MB"]
    layouts = list(facts["layouts"].items())
    lines += [f"{layout}: {size:,} numbers" for layout, size in layouts[:MANY_LAYOUTS]]
    lines += [f"… and {len(layouts) - MANY_LAYOUTS} more layouts"] if len(layouts) > MANY_LAYOUTS else []
    lines += ["", show.table(_counts(facts)), ""]
    if "psnr" in facts:
        lines.append("PSNR (dB)  " + "   ".join(f"{part:.0%}: {value:.1f}" for part, value in facts["psnr"].items()))
    if "test_accuracy" in facts:
        parts = "   ".join(f"{part:.0%}: {value:.1%}" for part, value in facts["test_accuracy"].items())
        lines.append(f"test accuracy  {parts}")
    if "fates" in facts:
        lines.append("checkpoints    " + "   ".join(f"{fate}: {count:,}" for fate, count in facts["fates"].items()))
    recipe = {
        key: value["name"] if isinstance(value, dict) and "name" in value else value
        for key, value in facts["recipe"].items()
    }
    told = {key: recipe[key] for key in RECIPE if recipe.get(key) is not None}
    lines.append("recipe     " + "   ".join(f"{key}: {value}" for key, value in told.items()))
    skipped = [f"skipped    {name}: {reason}" for name, reason in facts["skipped"][:MANY_SKIPPED]]
    more = len(facts["skipped"]) - len(skipped)
    return [*lines, *skipped, *([f"           and {more} more; --json lists them all"] if more else [])]


def _counts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per split: its networks, and those of each label where there are few labels."""
    labels = sorted({label for counts in facts["labels"].values() for label in counts if label is not None})
    shown = labels if 1 < len(labels) <= MANY_LABELS else []
    return [
        {"split": split, "networks": facts["splits"][split], **{f"label {each}": counts.get(each, 0) for each in shown}}
        for split, counts in facts["labels"].items()
    ]


def sheet(arguments: Namespace) -> int:
    """Draws networks, evenly spaced in the zoo, beside the images they were fitted to."""
    from neural_graphs.plots import contact_sheet, save
    from neural_graphs.zoo import Zoo

    whole = Zoo(arguments.zoo, partial=True)
    zoo = whole.subset(arguments.where) if arguments.where else whole
    if not len(zoo):
        raise ZooError(f"{arguments.zoo} has no network for which {arguments.where or 'anything'} holds")
    if arguments.out is not None and arguments.out.suffix == ".html":
        return _page(zoo, arguments)
    if zoo.canvas is None:
        page = f"neural-graphs zoo show {arguments.zoo} --out {arguments.zoo.resolve().name}.html"
        raise ZooError(f"{arguments.zoo} holds no implicit images to draw; a page shows what it holds: {page}")
    shown = zoo.spaced(arguments.count or PICTURED)
    if shown.has_images:
        images, renders = shown.sheet(slice(None))
        title = "images, and what their networks draw"
    else:  # converted zoos keep none
        renders = shown.render(slice(None)).clip(0, 1)
        images, title = renders[:, :, :0], "what the networks draw"
    name = f"{arguments.zoo.resolve().name}-sheet.png"
    out = arguments.out or (arguments.zoo.with_name(name) if whole.repository is None else Path(name))
    captions = [_caption(metadata) for metadata in shown.table.to_pylist()]
    figure = contact_sheet(images, renders, captions, title=f"{arguments.zoo.resolve().name}: {title}")
    print(f"{save(figure, out)}: {len(shown)} of {len(zoo):,} networks")
    return 0


def _page(zoo: "Zoo", arguments: Namespace) -> int:
    """Writes the page of a zoo, and says where it is."""
    from neural_graphs.io.atomic import write_whole
    from neural_graphs.zoo.page import SHOWN, zoo_page

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out, zoo_page(zoo, arguments.count or SHOWN).html().encode())
    print(arguments.out)
    return 0


def _caption(metadata: Mapping[str, Any]) -> str:
    psnr = metadata.get("psnr")
    return str(metadata["label"]) + ("" if psnr is None else f" · {psnr:.1f} dB")


def check(arguments: Namespace) -> int:
    """Verifies a zoo; a problem is an error."""
    from neural_graphs.zoo import Zoo, check_zoo

    zoo = Zoo(arguments.zoo)
    with show.bar("shards") as tick:
        check_zoo(zoo, progress=tick)
    print(f"{zoo.place}: {len(zoo):,} networks, every checksum right, every value finite where it should be")
    return 0
