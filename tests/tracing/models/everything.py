"""All networks that tests trace."""

from tests.tracing.models import (
    attending,
    choosing,
    convolutional,
    further,
    huggingface,
    modern,
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
    *modern.EXAMPLES,
]
EXAMPLES = {example.name: example for example in [*OURS, *huggingface.EXAMPLES]}
