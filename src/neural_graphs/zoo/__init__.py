"""Networks on disk: grow them, convert published ones, read them back."""

from neural_graphs.zoo.check import check_zoo, info
from neural_graphs.zoo.find_images import find_source, load_images
from neural_graphs.zoo.images import Images, Source
from neural_graphs.zoo.importers.inrs import FORMATS, Format, InrFormat, Navon, Zhou, convert
from neural_graphs.zoo.importers.small_cnn_zoo import convert_small_cnn_zoo
from neural_graphs.zoo.importers.state_dicts import convert_state_dicts
from neural_graphs.zoo.importers.wild_park import convert_cnn_wild_park
from neural_graphs.zoo.recipes.grow_inrs import Plan, grow_inrs
from neural_graphs.zoo.recipes.presets import PRESETS, Preset, preset
from neural_graphs.zoo.store import Record, Zoo

__all__ = [
    "FORMATS",
    "PRESETS",
    "Format",
    "Images",
    "InrFormat",
    "Navon",
    "Plan",
    "Preset",
    "Record",
    "Source",
    "Zhou",
    "Zoo",
    "check_zoo",
    "convert",
    "convert_cnn_wild_park",
    "convert_small_cnn_zoo",
    "convert_state_dicts",
    "find_source",
    "grow_inrs",
    "info",
    "load_images",
    "preset",
]
