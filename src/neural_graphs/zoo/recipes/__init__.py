"""Zoos of convolutional networks trained on real images: recipes, and the programs that train them."""

from neural_graphs.zoo.recipes.cnn import CnnRecipe
from neural_graphs.zoo.recipes.grow_cnns import grow_cnns
from neural_graphs.zoo.recipes.registry import RECIPES, cnn_recipe
from neural_graphs.zoo.recipes.small_cnn import SmallCnn
from neural_graphs.zoo.recipes.wild_park import WildPark

__all__ = ["RECIPES", "CnnRecipe", "SmallCnn", "WildPark", "cnn_recipe", "grow_cnns"]
