"""Learning to optimise: update rules trained on inner tasks, and compared with tuned optimizers."""

from neural_graphs.tasks.learning_to_optimize.compare import Setting
from neural_graphs.tasks.learning_to_optimize.data import InnerTasks
from neural_graphs.tasks.learning_to_optimize.task import LearningToOptimize

__all__ = ["InnerTasks", "LearningToOptimize", "Setting"]
