"""Accuracies from weights: the task, its figures, intervals and limits, rankings, and the classical baseline."""

from neural_graphs.tasks.generalization.ranking import Ranked, Ranking, rank
from neural_graphs.tasks.generalization.task import Generalization
from neural_graphs.tasks.generalization.trees import boosted_trees

__all__ = ["Generalization", "Ranked", "Ranking", "boosted_trees", "rank"]
