"""The recipes by name: as published, and `-mini`, the same on fewer and smaller images for fewer epochs."""

from neural_graphs.errors import ConfigError
from neural_graphs.zoo.recipes.cnn import CnnRecipe
from neural_graphs.zoo.recipes.small_cnn import SmallCnn
from neural_graphs.zoo.recipes.training_data import Pictures
from neural_graphs.zoo.recipes.wild_park import WildPark

RECIPES: dict[str, CnnRecipe] = {
    recipe.name: recipe
    for recipe in (
        SmallCnn(  # Unterthiner et al. 2020; shares of Zhou et al. 2023
            "small-cnn",
            Pictures(),
            batch=512,
            shares=(4, 1, 5),
            checkpoints=(0, 1, 2, 3, 20, 40, 60, 80, 86),
            stack=2,
        ),
        SmallCnn(  # 28 pixels become 15, the least that three convolutions with stride 2 need
            "small-cnn-mini",
            Pictures(train=5000, test=2500, border=1, shrink=2),
            batch=64,
            shares=(3, 1, 2),
            checkpoints=(0, 1, 2, 3, 6, 11, 16),
            stack=8,
        ),
        WildPark(  # Kofinas et al. 2024; shares and the chance of a skip are ours
            "wild-park", Pictures(grey=False), batch=512, shares=(7, 1, 2), epochs=(200, 1000), every=10
        ),
        WildPark(
            "wild-park-mini",
            Pictures(train=1200, test=1500, border=1, shrink=3),
            batch=64,
            shares=(4, 1, 1),
            epochs=(20, 36),
            every=4,
        ),
    )
}


def cnn_recipe(name: str) -> CnnRecipe:
    """Return the recipe of that name; ConfigError lists the known ones."""
    if name not in RECIPES:
        raise ConfigError(f'no CNN recipe is called "{name}"; known: {", ".join(RECIPES)}')
    return RECIPES[name]
