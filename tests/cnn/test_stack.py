"""The tensor program of many CNNs against autograd, torch's optimisers and the runner of layouts, in float64."""

import pytest
import torch

from neural_graphs.errors import ConfigError
from neural_graphs.networks import Networks
from neural_graphs.zoo.recipes.batched_cnn import BatchedCnn, BatchedDropout, Geometry, cross_entropy
from neural_graphs.zoo.recipes.descent import RULES, Descent
from neural_graphs.zoo.recipes.hyper import Initializer

OPTIMIZERS = {
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr, eps=1e-7),
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr=lr, alpha=0.9, eps=1e-7),
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr),
}


@pytest.fixture(autouse=True)
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def columns(images):
    """Images (n, channels, height, width) as the stack reads them: pixels first."""
    return images.flatten(1).T.contiguous()


def case(networks, activation, channels=(2, 5, 4, 3), image=(15, 16), images=6):
    geometry = Geometry(channels, 3, 2, 10, image)
    stack = BatchedCnn(geometry, activation, networks, images)
    generator = torch.Generator().manual_seed(networks)
    values = 0.3 * torch.randn(networks, stack.layout.size, generator=generator)
    pixels = torch.randn(images, channels[0], *image, generator=generator)
    return stack, values, pixels, torch.randint(0, 10, (images,), generator=generator)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("networks", [1, 3])
def test_logits_and_gradients_are_those_of_the_layout(networks, activation):
    stack, values, pixels, labels = case(networks, activation)
    logits = stack.forward(values, columns(pixels))
    leaf = values.clone().requires_grad_()
    expected = Networks(leaf, stack.layout).run(pixels)
    torch.testing.assert_close(logits.transpose(1, 2), expected, rtol=0, atol=1e-12)
    losses, dlogits = cross_entropy(logits, labels)
    total = sum(torch.nn.functional.cross_entropy(each, labels) for each in expected)
    torch.testing.assert_close(losses.mean(1).sum(), total, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(stack.backward(dlogits), gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradients_with_dropout_are_the_slopes_of_the_loss(activation):
    stack, values, pixels, labels = case(2, activation, channels=(1, 4, 3))
    rates = torch.tensor([0.0, 0.5])

    def loss(at):
        dropout = BatchedDropout(rates, torch.Generator().manual_seed(5))  # the same activities are dropped every time
        return cross_entropy(stack.forward(at, columns(pixels), dropout), labels)

    gradient = stack.backward(loss(values)[1])
    along = torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    ahead, behind = (loss(values + step * along)[0].mean(1) for step in (1e-6, -1e-6))
    torch.testing.assert_close((ahead - behind) / 2e-6, (gradient * along).sum(1), rtol=1e-6, atol=1e-8)


def test_dropout_keeps_the_mean_and_leaves_networks_of_rate_0_alone():
    dropout = BatchedDropout(torch.tensor([0.0, 0.25, 0.7]), torch.Generator().manual_seed(0))
    x = torch.ones(3, 100, 200)
    dropout.apply(x)
    torch.testing.assert_close((x * dropout.scale).mean((1, 2)), torch.ones(3), rtol=0, atol=0.03)
    assert x[0].eq(1).all() and set(x.unique().tolist()) == {0.0, 1.0}


def test_descent_makes_the_steps_of_torch_for_every_rule_at_once():
    generator = torch.Generator().manual_seed(0)
    rates = [0.01, 0.003, 0.1, 0.02]
    names = ["adam", "rmsprop", "sgd", "adam"]
    values = torch.randn(4, 7, generator=generator)
    each = [row.clone().requires_grad_() for row in values]
    optimizers = [OPTIMIZERS[name]([p], lr) for name, p, lr in zip(names, each, rates, strict=True)]
    descent = Descent([RULES[name] for name in names], rates, values)
    for _ in range(20):
        gradient = torch.randn(4, 7, generator=generator)
        for row, p, optimizer in zip(gradient, each, optimizers, strict=True):
            p.grad = row.clone()
            optimizer.step()
        descent.step(gradient)
    torch.testing.assert_close(values, torch.stack([p.detach() for p in each]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "std", "expected"),
    [
        ("normal", 0.2, 0.2),
        ("truncated_normal", 0.2, 0.2 * 0.87962566103423978),
        ("glorot_normal", None, (2 / (9 * 64 + 9 * 64)) ** 0.5),
        ("he_normal", None, (2 / (9 * 64)) ** 0.5),
        ("orthogonal", None, (1 / (9 * 64)) ** 0.5),
    ],
)
def test_initial_weights_have_the_standard_deviation_asked_for_and_biases_are_0(name, std, expected):
    layout = Geometry((64, 64), 3, 2, 10, (5, 5)).layout("relu")
    values = Initializer(name, std).values(layout, torch.Generator().manual_seed(0))
    weight = values[layout.slices["conv0.weight"]]
    assert weight.std().item() == pytest.approx(expected, rel=0.03)
    assert not values[layout.slices["conv0.bias"]].any() and not values[layout.slices["fc.bias"]].any()
    if name == "orthogonal":
        rows = weight.view(64, -1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(64), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "std", "said"),
    [("xavier", None, "unknown initializer 'xavier'"), ("normal", None, "takes a std"), ("he_normal", 0.1, "no std")],
)
def test_initializers_that_are_none_are_refused(name, std, said):
    with pytest.raises(ConfigError, match=said):
        Initializer(name, std)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match="too small"):
        Geometry((1, 16, 16, 16), 3, 2, 10, (14, 14))
