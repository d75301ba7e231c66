"""Zoos of convolutional networks trained on real images: recipes, and the programs that train them."""

from neural_graphs.zoo.cnn.grow import grow_cnns
from neural_graphs.zoo.cnn.park import WildPark
from neural_graphs.zoo.cnn.recipe import CnnRecipe
from neural_graphs.zoo.cnn.recipes import RECIPES, cnn_recipe
from neural_graphs.zoo.cnn.small import SmallCnn

__all__ = ["RECIPES", "CnnRecipe", "SmallCnn", "WildPark", "cnn_recipe", "grow_cnns"]
