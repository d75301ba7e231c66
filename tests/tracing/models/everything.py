"""All networks that tests trace."""

from tests.tracing.models import (
    attending,
    choosing,
    convolutional,
    further,
    huggingface,
    recurrent,
    resnets,
    small,
    unusual,
)

OURS = [
    *small.EXAMPLES,
    *resnets.EXAMPLES,
    *convolutional.EXAMPLES,
    *attending.EXAMPLES,
    *recurrent.EXAMPLES,
    *further.EXAMPLES,
    *unusual.EXAMPLES,
    *choosing.EXAMPLES,
]
EXAMPLES = {example.name: example for example in [*OURS, *huggingface.EXAMPLES]}
