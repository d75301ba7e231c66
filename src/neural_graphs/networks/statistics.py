"""Running statistics of batch norms, taken anew: those of a mean of networks are not the mean of theirs."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from neural_graphs.errors import LayoutError
from neural_graphs.layout import Layout
from neural_graphs.networks.networks import Networks, StateDict

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def renew_statistics(networks: Networks, batches: list[Tensor]) -> Networks:
    """Networks whose batch norms have the statistics of these batches, the mean over them (Jordan et al. 2023, REPAIR).

    Every batch is what the module of the layout reads. Networks without batch norms stay as they are. Raises
    LayoutError where a layout with running statistics has no module to run, or there is no batch to take them on.
    """
    if not any(parameter.buffer for layout in set(networks.layouts) for parameter in layout.parameters):
        return networks
    if not batches:
        raise LayoutError("statistics are taken anew on batches of inputs, got none; give one at least")
    pairs = zip(networks.layouts, networks.state_dicts(), strict=True)
    states = [_renewed(layout, state, networks.values, batches) for layout, state in pairs]
    return Networks.from_state_dicts(states, networks.layout if networks.regular else networks.layouts)


def _renewed(layout: Layout, state: StateDict, like: Tensor, batches: list[Tensor]) -> StateDict:
    if layout.program is None:
        raise LayoutError(f"{layout} has running statistics and no module to take them with; trace its module again")
    module = deepcopy(layout.program.module).to(like.device, like.dtype)
    module.load_state_dict(state)
    norms = [each for each in module.modules() if isinstance(each, NORMS)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over batches
        norm.train()
    for batch in batches:
        module(batch)
    found: dict[str, Tensor] = module.state_dict()
    return found
