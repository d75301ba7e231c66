"""Tasks: training and testing metanetworks on zoos, on Lightning."""

from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.evaluate import classify, predict, read_network, test, validate
from neural_graphs.tasks.fit import callbacks, fit
from neural_graphs.tasks.pixels import pixel_probe
from neural_graphs.tasks.runs import Run, load_run

__all__ = [
    "Classification",
    "Run",
    "ZooData",
    "callbacks",
    "classify",
    "fit",
    "load_run",
    "pixel_probe",
    "predict",
    "read_network",
    "test",
    "validate",
]
