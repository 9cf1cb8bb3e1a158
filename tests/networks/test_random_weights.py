import torch

from quantbench import networks
from quantbench.networks.random_weights import seeded, settle_batch_norm


def load(seed=0):
    return networks.load(
        {"name": "mobilenet_v2", "family": "torchvision", "arch": "mobilenet_v2", "weights": "random", "seed": seed}
    )


def test_random_weights_follow_the_seed_and_leave_torch_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = (seeded(lambda: torch.nn.Linear(4, 2), seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.weight, same.weight) and not torch.equal(one.weight, other.weight)


def test_activations_of_random_weights_keep_their_size_through_the_network():
    network = load()
    sizes = []
    for child in network.module.modules():
        if isinstance(child, torch.nn.BatchNorm2d):
            child.register_forward_hook(lambda _module, _input, output: sizes.append(float(output.std())))
    with torch.no_grad():
        network.module(torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)))
    assert len(sizes) == 52 and not network.module.training
    assert min(sizes) > 0.1 and max(sizes) < 10


def test_the_seed_decides_statistics_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load().module.state_dict()
    assert torch.equal(torch.rand(1), expected)
    again, other = load().module.state_dict(), load(1).module.state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["features.0.1.running_var"], other["features.0.1.running_var"])
    assert {child.momentum for child in load().module.modules() if isinstance(child, torch.nn.BatchNorm2d)} == {0.1}


def test_a_network_with_a_second_argument_is_settled_too():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(2)

        def forward(self, values, lengths):
            assert lengths.tolist() == [[7]] * len(values)
            return self.norm(10 * values)

    module = Two()
    settle_batch_norm(module, (torch.zeros(1, 2, 50), torch.tensor([[7]])), 0)
    assert (module.norm.running_var > 50).all() and not module.training
