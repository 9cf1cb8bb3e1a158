import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from quantbench.sweep.command import spelled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (99.9, "99.9"),
        ("layer4.*", "'layer4.*'"),
        ("/data/imagenet", "/data/imagenet"),
        ("it's a,b \\", r"'it\'s a,b \\'"),
        (["conv1", None, "a b"], "[conv1,null,'a b']"),
        ({"share": 0.5, "names": ["x y"]}, "{share:0.5,names:['x y']}"),
    ],
)
def test_a_value_is_read_back_as_it_was(value, text):
    assert spelled(value) == text
    (override,) = OverridesParser.create().parse_overrides([f"key={text}"])
    assert not override.is_sweep_override() and override.value() == value
