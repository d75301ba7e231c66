"""Networks in the style of today's model libraries, each as small as it can be."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tracing.models.attending import LayerScale
from tests.tracing.models.convolutional import unit
from tests.tracing.models.example import Example, floats


class LayerNorm2d(nn.LayerNorm):
    """A norm over channels that lie in front of the places."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Filters of each channel alone, a norm and two linear layers with the channels last, a layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 2, 2), LayerNorm2d(6)
        self.filter, self.inner = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.LayerNorm(6)
        self.up, self.down, self.scale = nn.Linear(6, 10), nn.Linear(10, 6), nn.Parameter(torch.ones(6, 1, 1))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        y = self.down(F.gelu(self.up(self.inner(self.filter(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)
        return self.head((x + self.scale * y).mean((-2, -1)))


class SpaceToDepth(nn.Module):
    """RegNet's grouped block behind a stem that folds places into channels, with an SE gate by hardsigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(12, 8, 1, nn.Hardswish)
        self.first, self.grouped = unit(8, 8, 1), unit(8, 8, 3, stride=2, groups=2)
        self.squeeze, self.excite, self.last = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1), unit(8, 8, 1, nn.Identity)
        self.shortcut, self.head = unit(8, 8, 1, nn.Identity, stride=2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(x, 2))
        y = self.grouped(self.first(x))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return self.head(F.relu(self.last(y) + self.shortcut(x)).mean((2, 3)))


class Ghost(nn.Module):
    """Half of the channels are made cheaply from the other half, and as many kept as are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.primary, self.cheap = unit(3, 4, 1), unit(4, 4, 3, groups=4)
        self.second, self.filter, self.head = unit(7, 4, 1), unit(4, 4, 3, groups=4), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary(x)
        x = torch.cat([first, self.cheap(first)], 1)[:, :7]
        second = self.second(x)
        return self.head(torch.cat([second, self.filter(second)], 1)[:, :7].mean((2, 3)))


class ShiftedWindows(nn.Module):
    """Attention in windows, shifted in the second block, with a table of relative positions, then merged patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norms = nn.Conv2d(3, 8, 2, 2), nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.qkv = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))
        self.proj = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.table = nn.ParameterList(nn.Parameter(torch.zeros(9, 2)) for _ in range(2))
        at = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        self.register_buffer(
            "index", ((at[:, :, None] - at[:, None, :]) + 1).mul(torch.tensor([3, 1])[:, None, None]).sum(0)
        )
        self.merge_norm, self.merge, self.head = nn.LayerNorm(32), nn.Linear(32, 10, bias=False), nn.Linear(10, 3)

    def attend(self, x: Tensor, place: int) -> Tensor:
        n, height, width, c = x.shape
        x = torch.roll(x, (-place, -place), (1, 2))
        windows = x.view(n, height // 2, 2, width // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        q, k, v = self.qkv[place](windows).reshape(-1, 4, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[place][self.index.view(-1)].view(4, 4, 2).permute(2, 0, 1)
        share = ((q * 0.5) @ k.transpose(-2, -1) + bias).softmax(-1)
        windows = self.proj[place]((share @ v).transpose(1, 2).reshape(-1, 4, c))
        x = windows.view(n, height // 2, width // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, height, width, c)
        return torch.roll(x, (place, place), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)
        for place, norm in enumerate(self.norms):
            x = x + self.attend(norm(x), place)
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.head(self.merge(self.merge_norm(torch.cat(corners, -1))).mean((1, 2)))


class VAE(nn.Module):
    """A code of means and spreads, the noise an input of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.code = nn.Conv2d(1, 5, 3, 2, 1), nn.Linear(5 * 4, 2 * 3)
        self.start, self.decode = nn.Linear(3, 5 * 4), nn.ConvTranspose2d(5, 1, 4, 2, 1)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread = self.code(F.leaky_relu(self.encode(x)).flatten(1)).chunk(2, -1)
        code = mean + noise * torch.exp(0.5 * spread)
        return self.decode(F.relu(self.start(code)).unflatten(-1, (5, 2, 2))).sigmoid(), mean, spread


class DiffusionUNet(nn.Module):
    """Residual blocks that are told the time, attention over places at the bottom, a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 8))
        self.enter, self.norm1, self.conv1 = (
            nn.Conv2d(2, 8, 3, padding=1),
            nn.GroupNorm(4, 8),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.norm2, self.qkv, self.out = nn.GroupNorm(2, 8), nn.Conv1d(8, 24, 1), nn.Conv1d(8, 8, 1)
        self.norm3, self.conv3, self.leave = nn.GroupNorm(4, 16), nn.Conv2d(16, 6, 3, padding=1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        speeds = torch.exp(-torch.arange(2, dtype=x.dtype))
        angles = time[:, None] * speeds
        told = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        skip = self.enter(x)
        x = self.conv1(F.silu(self.norm1(skip))) + told[:, :, None, None]
        low = F.avg_pool2d(x, 2)
        q, k, v = self.qkv(self.norm2(low).flatten(2)).chunk(3, 1)
        share = torch.einsum("bct,bcs->bts", q * 0.6, k * 0.6).softmax(-1)
        low = low + self.out(torch.einsum("bts,bcs->bct", share, v)).view_as(low)
        x = torch.cat([F.interpolate(low, scale_factor=2, mode="nearest"), skip], 1)
        return self.leave(F.silu(self.conv3(F.silu(self.norm3(x)))))


class GatedConvolution(nn.Module):
    """Mamba's way round its state: two streams from one projection, one filtered over time, gated by the other."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.enter = nn.Embedding(7, 6), nn.RMSNorm(6), nn.Linear(6, 16, bias=False)
        self.filter, self.leave, self.head = nn.Conv1d(8, 8, 3, padding=2, groups=8), nn.Linear(8, 6), nn.Linear(6, 7)
        self.scale = LayerScale(6)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        value, gate = self.enter(self.norm(x)).chunk(2, -1)
        value = F.silu(self.filter(value.transpose(1, 2))[..., : ids.shape[1]].transpose(1, 2))
        return self.head(x + self.scale(self.leave(value * F.silu(gate))))


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the tokens: keys and values first, normalised by a sum, with rotated heads."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.qkv, self.out, self.leave = nn.Linear(3, 6), nn.Linear(6, 18), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 2, 3).unbind(2)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        found = torch.einsum("nlhd,nhdm->nlhm", q, torch.einsum("nshd,nshm->nhdm", k, v))
        share = 1 / torch.einsum("nlhd,nhd->nlh", q, k.sum(1))
        return self.leave(x + self.out((found * share.unsqueeze(-1)).flatten(2)))


class Perceptual(nn.Module):
    """BlurPool, a spatial gate of mean and maximum (CBAM), stochastic depth, an average and a maximum at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.inner = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(2, 1, 3, padding=1),
            nn.Conv2d(6, 6, 1),
        )
        self.register_buffer("blur", torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16)
        self.head, self.weight = nn.Linear(12, 3), nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(F.relu(self.stem(x)), self.blur.expand(6, 1, 3, 3), stride=2, padding=1, groups=6)
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        x = x * self.gate(seen).sigmoid()
        share = self.weight.relu() / (self.weight.relu().sum() + 1e-4)
        x = share[0] * x + share[1] * F.relu(self.inner(x))
        return self.head(torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1).flatten(1))


class Splines(nn.Module):
    """A function on every edge, as a sum of bumps that stand in a buffer (a Kolmogorov–Arnold network)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(torch.zeros(5, 3, 4)), nn.Parameter(torch.zeros(2, 5, 4))
        self.register_buffer("grid", torch.linspace(-1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        for weight in (self.first, self.last):
            x = torch.einsum("nig,oig->no", torch.exp(-((x[..., None] - self.grid) ** 2)), weight)
        return x


class GraphConvolution(nn.Module):
    """What neighbours say is added up at the ends of edges, once by index and once by scatter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = F.relu(self.second(torch.zeros_like(x).index_add_(0, edges[1], x[edges[0]])))
        return self.last(x + torch.zeros_like(x).scatter_add(0, edges[1][:, None].expand(-1, 5), x[edges[0]]))


class Windows(nn.Module):
    """Patches by `unfold`, windows over time by `Tensor.unfold`, sums of three factors, dots for any dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.patches = nn.Conv2d(1, 4, 1), nn.Linear(4 * 4, 5)
        sizes = ((5, 4), (4, 6), (6, 2), (6, 7))
        self.one, self.two, self.memory, self.mix = (nn.Parameter(torch.zeros(*size)) for size in sizes)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.patches(F.unfold(F.relu(self.filter(x)), 2).transpose(1, 2)))
        x = torch.tanh(torch.einsum("...i,ij,jk->...k", x, self.one, self.two))
        x = torch.einsum("nlct,ct->nlc", x.unfold(1, 2, 1), self.memory)
        return self.head(F.gelu(torch.tensordot(x, self.mix, dims=1)).median(1).values)


class Centred(nn.Module):
    """Images less the mean of every colour, by its spread, as published networks often begin."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.spread, self.first, self.last = nn.Parameter(torch.ones(3, 1, 1)), nn.Conv2d(3, 6, 3), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.gelu(self.first((x - self.mean) / self.spread)).mean((2, 3)))


EXAMPLES = [
    Example("ConvNeXt block", ConvNeXt, floats(2, 3, 8, 8)),
    Example("RegNet block", SpaceToDepth, floats(2, 3, 8, 8)),
    Example("GhostNet", Ghost, floats(2, 3, 5, 5)),
    Example("shifted windows", ShiftedWindows, floats(2, 3, 8, 8)),
    Example("VAE", VAE, lambda: (floats(4, 1, 4, 4)(), floats(4, 3)())),
    Example("diffusion U-Net", DiffusionUNet, lambda: (floats(2, 2, 4, 4)(), floats(2)())),
    Example("gated convolution", GatedConvolution, lambda: torch.tensor([[1, 4, 2, 6, 0], [3, 3, 5, 1, 2]])),
    Example("linear attention", LinearAttention, floats(2, 5, 3)),
    Example("gates and blurs", Perceptual, floats(2, 3, 8, 8)),
    Example("centred images", Centred, floats(2, 3, 5, 5)),
    Example("splines on edges", Splines, floats(4, 3)),
    Example(
        "graph convolution", GraphConvolution, lambda: (floats(4, 3)(), torch.tensor([[0, 1, 2, 3], [1, 2, 0, 0]]))
    ),
    Example("windows and sums", Windows, floats(2, 1, 3, 4)),
]
