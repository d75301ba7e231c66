"""The command that grows a zoo again."""

import shlex
from typing import Any

from neural_graphs.zoo.find_images import CARRIED
from neural_graphs.zoo.images import Hub
from neural_graphs.zoo.recipes.presets import PRESETS
from neural_graphs.zoo.recipes.registry import RECIPES
from neural_graphs.zoo.store import Zoo


def growing(zoo: Zoo) -> str | None:
    """The words for the shell that grow this zoo; None where it was imported, or grown by a recipe of one's own."""
    recipe = zoo.manifest.recipe
    made: dict[str, Any] = {"inr": _inr, "cnn": _cnn}.get(str(recipe.get("kind")), _unknown)(zoo, recipe)
    if not made:
        return None
    images = str(recipe["images"])
    source = images if images in CARRIED or images in Hub.REPOSITORIES else f"FOLDER/{images}"
    options = {"images": source, **made, "seed": recipe["seed"], "out": zoo.place}
    words = [word for name, value in options.items() for word in (f"--{name}", *_words(value))]
    return shlex.join(["neural-graphs", "zoo", "grow", recipe["kind"], *words])


def _words(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _inr(zoo: Zoo, recipe: dict[str, Any]) -> dict[str, Any]:
    name = recipe["preset"].get("name") if isinstance(recipe.get("preset"), dict) else None
    if name not in PRESETS:
        return {}
    usual = {"shares": None, "copies": PRESETS[name].copies, "device": "cpu"}
    others = {key: recipe[key] for key, value in usual.items() if recipe.get(key, value) != value}
    return {"preset": name, "count": zoo.manifest.planned, "hidden": recipe["hidden"], **others}


def _cnn(zoo: Zoo, recipe: dict[str, Any]) -> dict[str, Any]:
    name = recipe["recipe"].get("name") if isinstance(recipe.get("recipe"), dict) else None
    if name not in RECIPES:
        return {}
    return {"recipe": name, "count": len(set(zoo.column("network").tolist()))}


def _unknown(zoo: Zoo, recipe: dict[str, Any]) -> dict[str, Any]:
    return {}
