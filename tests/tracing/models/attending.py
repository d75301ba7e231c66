"""Networks of tokens: vision transformers, mixers, PyTorch's own transformer layers, and a decoder of today's kind."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tracing.models.example import Example, floats, tokens


class Attention(nn.Module):
    """Self-attention with one packed projection, as timm has it; optionally queries and keys are normed."""

    def __init__(self, width: int, heads: int, normed: bool, fused: bool):
        super().__init__()
        self.heads, self.fused, size = heads, fused, width // heads
        self.scale = size**-0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q_norm = nn.LayerNorm(size) if normed else nn.Identity()
        self.k_norm = nn.LayerNorm(size) if normed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, count, width))


class LayerScale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(1e-5 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ViTBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, normed: bool, fused: bool):
        super().__init__()
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(width), Attention(width, heads, normed, fused), LayerScale(width)
        self.norm2, self.ls2 = nn.LayerNorm(width), LayerScale(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class ViT(nn.Module):
    """Patches, a class token, position table, blocks, a head on the class token."""

    def __init__(self, width: int = 12, heads: int = 3, depth: int = 2, normed: bool = False, fused: bool = True):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, 4, 4)
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 5, width))
        self.blocks = nn.Sequential(*(ViTBlock(width, heads, 20, normed, fused) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class MixerBlock(nn.Module):
    def __init__(self, count: int, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp_tokens = nn.Sequential(nn.Linear(count, 5), nn.GELU(), nn.Linear(5, count))
        self.mlp_channels = nn.Sequential(nn.Linear(width, 11), nn.GELU(), nn.Linear(11, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class Mixer(nn.Module):
    """Every layer mixes places, then channels."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.blocks = nn.Sequential(MixerBlock(6, width), MixerBlock(6, width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(dim=1))


class Encoder(nn.Module):
    """PyTorch's encoder on embedded tokens, with a mask that hides the last of them."""

    def __init__(self, norm_first: bool):
        super().__init__()
        self.embedding, self.place = nn.Embedding(17, 12), nn.Embedding(6, 12)
        layer = nn.TransformerEncoderLayer(12, 3, 20, activation="gelu", batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(12), enable_nested_tensor=False)
        self.head = nn.Linear(12, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.place(torch.arange(ids.shape[1]))
        return self.head(self.encoder(x).mean(1))


class CrossAttention(nn.Module):
    """PyTorch's attention between two sequences of other widths, its weights returned, with a bias key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.memory = nn.Linear(3, 12), nn.Linear(4, 10)
        self.attention = nn.MultiheadAttention(12, 4, kdim=10, vdim=10, batch_first=True)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        memory = torch.tanh(self.memory(y))
        found, weights = self.attention(torch.tanh(self.queries(x)), memory, memory)
        return self.head(found), weights


class Packed(nn.Module):
    """PyTorch's decoder layer between two streams: its cross-attention packs the weights of both into one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.memory = nn.Linear(3, 6), nn.Linear(4, 6)
        self.layer, self.head = nn.TransformerDecoderLayer(6, 2, 5, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self.layer(self.queries(x), torch.tanh(self.memory(y))))


class Sliced(nn.Module):
    """Three streams of equal width read their rows of one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Linear(2, 4) for _ in range(3))
        self.packed, self.head = nn.Parameter(torch.zeros(12, 4)), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        streams = [torch.tanh(enter(x)) for enter in self.enter]
        rows = [self.packed[:3], self.packed[3:7], self.packed[7:]]
        found = [F.linear(stream, part) for stream, part in zip(streams, rows, strict=True)]
        return self.head(found[0] * found[1].square().sum(-1, keepdim=True) + found[2].exp().sum(-1, keepdim=True))


class Decoder(nn.Module):
    """One layer of a decoder: grouped queries, rotary positions, RMS norms, a gated multilayer perceptron."""

    def __init__(self, width: int, heads: int, pairs: int, hidden: int):
        super().__init__()
        self.size, self.share = width // heads, heads // pairs
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q = nn.Linear(width, heads * self.size, bias=False)
        self.k, self.v = (nn.Linear(width, pairs * self.size, bias=False) for _ in range(2))
        self.o = nn.Linear(heads * self.size, width, bias=False)
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def turn(self, x: Tensor) -> Tensor:
        """Rotary positions: dimension i and i + size / 2 turn together, at a speed of their own."""
        speeds = 100.0 ** -(torch.arange(0, self.size, 2, dtype=x.dtype) / self.size)
        angles = torch.outer(torch.arange(x.shape[2], dtype=x.dtype), speeds).repeat(1, 2)
        first, second = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = self.turn(self.split(self.q(y))), self.turn(self.split(self.k(y))), self.split(self.v(y))
        k, v = (z.repeat_interleave(self.share, dim=1) for z in (k, v))
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(found.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class GPT(nn.Module):
    """Embedding, layers, and a head that is the embedding again."""

    def __init__(self, width: int = 16, vocabulary: int = 11, depth: int = 2):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Decoder(width, 4, 2, 24) for _ in range(depth))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


EXAMPLES = [
    Example("ViT", ViT, floats(2, 3, 8, 8)),
    Example("ViT with normed queries", lambda: ViT(depth=1, normed=True, fused=False), floats(2, 3, 8, 8)),
    Example("MLP-Mixer", Mixer, floats(2, 3, 8, 12)),
    Example("nn.TransformerEncoder", lambda: Encoder(norm_first=False), tokens(17, 2, 6)),
    Example("nn.TransformerEncoder, norm first", lambda: Encoder(norm_first=True), tokens(17, 2, 6)),
    Example("nn.MultiheadAttention", CrossAttention, lambda: (floats(2, 5, 3)(), floats(2, 6, 4)())),
    Example("nn.TransformerDecoderLayer", Packed, lambda: (floats(2, 5, 3)(), floats(2, 6, 4)())),
    Example("rows of one matrix", Sliced, floats(4, 2)),
    Example("GPT", GPT, tokens(11, 2, 5)),
]
