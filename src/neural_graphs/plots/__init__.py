"""Pictures of zoos, runs and networks. Every function returns a matplotlib `Figure`; `save` writes it.

Nothing here touches matplotlib's global state.
"""

from neural_graphs.plots.charts import bars, confusion_matrix, training_curve
from neural_graphs.plots.gallery import gallery
from neural_graphs.plots.network import network_graph
from neural_graphs.plots.sheet import contact_sheet
from neural_graphs.plots.style import save

__all__ = ["bars", "confusion_matrix", "contact_sheet", "gallery", "network_graph", "save", "training_curve"]
