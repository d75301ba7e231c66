"""Tasks: training and testing metanetworks on zoos, on Lightning."""

from neural_graphs.io.network_files import read_network, write_network
from neural_graphs.tasks.ahead import Ahead
from neural_graphs.tasks.classification import Classification
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.editing import Editing
from neural_graphs.tasks.edits import Edit, edit
from neural_graphs.tasks.ensembles import ensemble
from neural_graphs.tasks.evaluate import classify, predict, test, validate
from neural_graphs.tasks.fit import asked_task, callbacks, fit
from neural_graphs.tasks.galleries import Galleries
from neural_graphs.tasks.generalization import Generalization, Ranked, Ranking, boosted_trees, rank
from neural_graphs.tasks.learning_to_optimize import InnerTasks, LearningToOptimize
from neural_graphs.tasks.optimizers import AdamW, Muon
from neural_graphs.tasks.pixels import pixel_probe
from neural_graphs.tasks.runs import Run, load_run, load_task
from neural_graphs.tasks.sharing import Pretrained, examples, from_pretrained, share
from neural_graphs.tasks.task import Task, data_of, find_task

__all__ = [
    "AdamW",
    "Ahead",
    "Classification",
    "Edit",
    "Editing",
    "Galleries",
    "Generalization",
    "InnerTasks",
    "LearningToOptimize",
    "Muon",
    "Pretrained",
    "Ranked",
    "Ranking",
    "Run",
    "Task",
    "ZooData",
    "asked_task",
    "boosted_trees",
    "callbacks",
    "classify",
    "data_of",
    "edit",
    "ensemble",
    "examples",
    "find_task",
    "fit",
    "from_pretrained",
    "load_run",
    "load_task",
    "pixel_probe",
    "predict",
    "rank",
    "read_network",
    "share",
    "test",
    "validate",
    "write_network",
]
