"""A space of a user's own choices: how it is written, counted, drawn and read."""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from nas.choices import Choice, Choices
from nas.errors import ArchsweepError
from nas.space import Listed, Priced, offers, one_hot
from nas.spaces import make_space

MACRO = """
[space]
name = "choices"
stem = 32
layer = { values = ["identity", "MB3_K3", "MB6_K5"], repeat = 8 }
"""


def layers(count: int) -> Choices:
    """Returns a space of layers that are skipped or have a kernel of two sizes: three forms each."""
    return Choices(
        op={"values": ["skip", "conv"], "repeat": count},
        kernel={"values": [3, 5], "repeat": count, "when": {"op": "conv"}},
    )


@pytest.fixture
def space() -> Choices:
    """Two choices, one of them only made where the first one is 2 or 4; 1 + 2 + 2 networks, 6 combinations."""
    return Choices(depth=[1, 2, 4], kernel={"values": [3, 5], "when": {"depth": [2, 4]}})


@pytest.fixture
def nested() -> Choices:
    """Conditions on conditions, on copies, and a choice repeated as often as another one says."""
    return Choices(
        kind=["plain", "residual"],
        depth={"values": [0, 1, 3], "when": {"kind": "residual"}},
        width={"values": [16, 32], "repeat": "depth"},
        gate={"values": [True, False], "repeat": 2, "when": {"width": 16}},
        free=[0.5, 1.5, 2.5],
    )


def test_four_lines_of_toml_are_nasbench_macro() -> None:
    given = tomllib.loads(MACRO)["space"]
    space = make_space(given.pop("name"), given)
    assert space.size == 3**8
    assert offers(space, Listed)
    assert not offers(space, Priced)
    network = space.from_json({f"layer_{layer}": "MB6_K5" for layer in range(8)})
    assert network.key == 3**8 - 1
    assert network.to_json() == {"stem": 32} | {f"layer_{layer}": "MB6_K5" for layer in range(8)}
    assert space.codes["choices"].names == tuple(f"layer_{layer}" for layer in range(8))


def test_a_network_reads_like_a_mapping() -> None:
    space = Choices(kernel=[3, 5], depth=(1, 2, 4), stem=32)
    network = space.at(1)
    assert network == Choice(1, (("kernel", 3), ("depth", 2), ("stem", 32)))
    assert network["depth"] == 2
    assert network.values == {"kernel": 3, "depth": 2, "stem": 32}
    with pytest.raises(KeyError):
        network["width"]
    assert space.definition == {"kernel": [3, 5], "depth": [1, 2, 4], "stem": 32}
    assert repr(space) == "Choices(kernel=[3, 5], depth=[1, 2, 4], stem=32)"


def test_a_choice_that_is_not_made_makes_no_difference(space: Choices) -> None:
    code = space.codes["choices"]
    assert code.decode([0, 0]) == code.decode([0, 1]) == space.from_json({"depth": 1})
    assert space.at(0).values == {"depth": 1}
    assert space.size == 5
    assert space.keys().tolist() == [0, 2, 3, 4, 5]
    with pytest.raises(ArchsweepError, match="no network of this space has key 1"):
        space.at(1)


def enumerated(space: Choices) -> set[int]:
    """Returns the keys of all vectors."""
    code = space.codes["choices"]
    vectors = itertools.product(*(range(count or 0) for count in code.choices))
    return {made.key for vector in vectors if (made := code.decode(list(vector))) is not None}


def test_networks_are_counted_exactly(space: Choices, nested: Choices) -> None:
    many = layers(4)
    assert many.size == 3**4
    for each in (space, nested, many, Choices(a=[1], b=[2, 3])):
        assert each.keys().tolist() == sorted(enumerated(each))
        assert each.size == len(each.keys())


def test_networks_are_drawn_uniformly(nested: Choices) -> None:
    rng = default_rng(0)
    size = nested.size or 0
    drawn = Counter(nested.sample(rng).key for _ in range(200 * size))
    assert set(drawn) == set(nested.keys().tolist())
    chi_squared = sum((count - 200) ** 2 / 200 for count in drawn.values())
    assert chi_squared < size + 5 * np.sqrt(2 * size)


def test_a_choice_that_is_switched_on_is_drawn(space: Choices) -> None:
    rng = default_rng(0)
    off = space.from_json({"depth": 1})
    for children in (
        [space.mutate_once(off, rng) for _ in range(100)],
        [space.mutate(off, rng, 1.5) for _ in range(100)],
    ):
        assert {child.values.get("kernel") for child in children} >= {3, 5}


def test_a_child_has_a_choice_from_the_parent_that_makes_it(space: Choices) -> None:
    rng = default_rng(0)
    off, on = space.from_json({"depth": 1}), space.from_json({"depth": 4, "kernel": 5})
    children = {space.crossover(*parents, rng) for parents in ((off, on), (on, off)) for _ in range(50)}
    assert children == {off, on}


def test_a_repeated_choice_depends_on_its_own_copy(nested: Choices) -> None:
    network = nested.from_json(
        {"kind": "residual", "depth": 3, "width_0": 32, "width_1": 16, "width_2": 16, "gate_1": False, "free": 0.5}
    )
    assert list(network.values) == ["kind", "depth", "width_0", "width_1", "width_2", "gate_1", "free"]
    assert nested.from_json({"kind": "plain", "free": 0.5}).values == {"kind": "plain", "free": 0.5}


def test_a_space_too_large_to_be_listed_is_drawn_from_uniformly() -> None:
    space, rng = layers(22), default_rng(0)
    assert space.size is None
    assert not offers(space, Listed)
    networks = [space.sample(rng) for _ in range(300)]
    share = np.mean([[network[f"op_{layer}"] == "conv" for layer in range(22)] for network in networks])
    assert share == pytest.approx(2 / 3, abs=0.03)


def test_features_are_the_code_with_a_column_for_each_value(nested: Choices) -> None:
    plain = Choices(a=[1, 2], b=["x", "y", "z"], c=[0], d={"values": [1, 2, 3, 4], "repeat": 2})
    assert np.array_equal(plain.features(plain.keys()), one_hot(plain, plain.keys()))
    assert len(np.unique(nested.features(nested.keys()), axis=0)) == nested.size


def test_names_hold_any_value() -> None:
    space = Choices(op=["conv 3x3", "a,b=c%20", "é"], flag=[True, False], rate=[0.1, 1, 1e-9])
    names = {space.name_of(space.at(key)) for key in range(18)}
    assert len(names) == 18
    for name in names:
        assert space.name_of(space.named(name)) == name
    assert space.named("op=conv 3x3, flag=true, rate=1e-09") == space.from_json(
        {"op": "conv 3x3", "flag": True, "rate": 1e-9}
    )


def test_a_number_is_the_same_in_json_whether_it_has_a_point_or_not() -> None:
    space = Choices(kernel=[3, 5], rate=[1.0, 0.5], flag=[True, 1.5])
    assert space.from_json({"kernel": 3.0, "rate": 1, "flag": True}).values == {"kernel": 3, "rate": 1.0, "flag": True}
    with pytest.raises(ArchsweepError, match="flag = 1; choose from true"):
        space.from_json({"kernel": 3, "rate": 1, "flag": 1})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "depth is missing; choose from 1, 2, 4"),
        ({"depth": 3}, "depth = 3; choose from 1, 2, 4"),
        ({"depth": [1]}, r"depth = \[1\]; choose from 1, 2, 4"),
        ({"dept": 1}, "unknown choice 'dept'; did you mean 'depth'?"),
        ({"depth": 1, "kernel": 3}, "kernel = 3; it is only chosen if depth is 2 or 4"),
        ({"depth": 2}, "kernel is missing; choose from 3, 5"),
        ("depth=1", 'expected {"depth": ..., ...}'),
    ],
)
def test_a_wrong_network_is_refused_in_one_line(space: Choices, value: Any, message: str) -> None:
    with pytest.raises(ArchsweepError) as error:
        space.from_json(value)
    assert str(error.value).endswith(message) or error.match(message)


def test_another_value_than_the_fixed_one_is_refused() -> None:
    with pytest.raises(ArchsweepError, match="stem = 64; it is fixed to 32"):
        Choices(stem=32, kernel=[3, 5]).from_json({"stem": 64, "kernel": 3})


@pytest.mark.parametrize("text", ["depth", "", "depth=1,,", "depth=3", "kernel=3"])
def test_a_wrong_name_is_refused(space: Choices, text: str) -> None:
    with pytest.raises(ArchsweepError):
        space.named(text)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({}, "needs a choice"),
        ({"a": 3}, "needs a choice"),
        ({"a": []}, "'a': .*expected a list"),
        ({"a": None}, "'a': None; expected a list"),
        ({"a": [1, [2]]}, "'a': .*expected a list"),
        ({"a": [1, float("nan")]}, "'a': .*expected a list"),
        ({"a": [1, 1.0]}, "'a': two values are written 1"),
        ({"a": [1, "1"]}, "'a': two values are written 1"),
        ({"a": {"value": [1]}}, "'a': unknown option 'value'"),
        ({"a": {"repeat": 3}}, "'a': no values"),
        ({"a": {"values": [1, 2], "when": 3}}, "'a': when = 3"),
        ({"a": {"values": [1, 2], "when": {"b": 1}}}, "'a': when names 'b', which is no earlier choice"),
        ({"a": [1, 2], "b": {"values": [1, 2], "when": {"a": 3}}}, "'b': when a = 3; choose from 1, 2"),
        ({"a": [1, 2], "b": {"values": [1, 2], "when": {"a": []}}}, "'b': when a"),
        ({"a": {"values": [1], "repeat": 0}}, "'a': repeat = 0"),
        ({"a": {"values": [1], "repeat": True}}, "'a': repeat = True"),
        ({"a": {"values": [1], "repeat": 10**9}}, "'a': repeat = 1000000000"),
        ({"a": ["x", "y"], "b": {"values": [1], "repeat": "a"}}, "'b': repeat = 'a'"),
        ({"a": [0], "b": {"values": [1], "repeat": "a"}}, "'b': repeat = 'a'"),
        ({"a b": [1, 2]}, "'a b': a name is a letter"),
        ({"a_0": [1, 2], "a": {"values": [1, 2], "repeat": 1}}, "'a_0' is defined twice"),
        ({"a": {"values": list(range(10)), "repeat": 19}}, r"10\^19 combinations"),
        ({"a": {"values": [1, 2, 3], "repeat": 1_000}}, r"10\^477 combinations"),
        (
            {f"a{i}": [0, 1] for i in range(20)} | {"b": {"values": [0, 1], "when": {f"a{i}": 1 for i in range(20)}}},
            "more than 262,144 cases",
        ),
    ],
)
def test_a_wrong_definition_is_refused_in_one_line(definition: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        make_space("choices", definition)


def test_keys_go_up_to_int64() -> None:
    space = Choices(a={"values": [0, 1], "repeat": 62}, b=[0])
    last = space.at(2**62 - 1)
    assert set(last.values.values()) == {0, 1}
    assert space.features(np.array([last.key]))[0].tolist() == [1.0] * 62 + [0.0]
    with pytest.raises(ArchsweepError, match="combinations"):
        Choices(a={"values": [0, 1], "repeat": 63})


def test_a_diagram_is_a_chain_of_boxes(space: Choices) -> None:
    diagram = space.diagram(space.from_json({"depth": 4, "kernel": 5}))
    assert [node.label for node in diagram.nodes] == ["depth 4", "kernel 5"]
    assert [(edge.source, edge.target) for edge in diagram.edges] == [(0, 1)]
    macro = Choices(layer={"values": ["a", "b"], "repeat": 2}, stem=32)
    assert [node.kind for node in macro.diagram(macro.at(0)).nodes] == ["layer a", "layer a", "stem"]
