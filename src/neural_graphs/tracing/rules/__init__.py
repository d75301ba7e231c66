"""What is known of operators: one small rule each, by the operator's name. Importing this registers them all."""

from neural_graphs.tracing.rules import choices as choices
from neural_graphs.tracing.rules import einsum as einsum
from neural_graphs.tracing.rules import linear as linear
from neural_graphs.tracing.rules import norms as norms
from neural_graphs.tracing.rules import pointwise as pointwise
from neural_graphs.tracing.rules import recurrent as recurrent
from neural_graphs.tracing.rules import shapes as shapes
from neural_graphs.tracing.rules import spatial as spatial
