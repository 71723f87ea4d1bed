"""Contracts that a plug-in tests itself against.

With pytest, a class and a fixture test a space::

    from archsweep.testing import SpaceContract

    class TestMySpace(SpaceContract):
        @pytest.fixture
        def space(self):
            return MySpace()

Without it, ``check_space(MySpace())`` runs the same tests; its `AssertionError` says which claim does not hold.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from nas import space as capabilities
from nas.errors import ArchsweepError
from nas.space import AnySpace, Architecture, Graphed, Named, Priced, Written, features_of, offers
from nas.spaces import make_space

SAMPLES = 32
NO_ARCHITECTURE: tuple[Any, ...] = (None, [], {}, 17.5, "no architecture", {"no": "architecture"}, [[]])
MATRICES = ("features", "paths", "flow")
"""Methods that make float32 (architectures, columns) of keys."""


def check_space(space: AnySpace) -> None:
    """Raises `AssertionError`, naming the claim, if a space breaks its contract.

    What a space need not offer (`nas.space`) is tested where it does.
    """
    contract = SpaceContract()
    for name in vars(SpaceContract):  # in the order in which they are written, the basic ones first
        if name.startswith("test_"):
            getattr(contract, name)(space)


def samples(space: AnySpace, seed: int = 0, count: int = SAMPLES) -> list[Architecture]:
    rng = default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def keys_of(architectures: Iterable[Architecture]) -> NDArray[np.int64]:
    return np.array([architecture.key for architecture in architectures], np.int64)


class SpaceContract:
    """Tests of a space; a subclass provides the fixture ``space``."""

    def test_an_architecture_is_a_hashable_value_with_an_int64_key(self, space: AnySpace) -> None:
        for architecture in samples(space):
            assert isinstance(architecture.key, int), f"key {architecture.key!r} is no int"
            assert -(2**63) <= architecture.key < 2**63, f"key {architecture.key} is no int64"
            twin = copy.deepcopy(architecture)
            assert twin == architecture, f"{architecture} differs from its copy"
            assert hash(twin) == hash(architecture), f"the hash of {architecture} differs from that of its copy"

    def test_a_key_gives_an_architecture_of_that_key(self, space: AnySpace) -> None:
        for architecture in samples(space):
            again = space.at(architecture.key)
            assert again.key == architecture.key, f"at({architecture.key}) has key {again.key}"
            assert again in space, f"at({architecture.key}) is not in the space"

    def test_a_key_that_is_none_is_refused(self, space: AnySpace) -> None:
        for key in (-1, 2**63 - 1):
            try:
                again = space.at(key)
            except ArchsweepError:
                continue
            assert again.key == key, f"at({key}) has key {again.key} instead of raising ArchsweepError"

    def test_listed_keys_ascend_and_are_as_many_as_the_size_says(self, space: AnySpace) -> None:
        if not offers(space, capabilities.Listed):
            return
        keys = np.asarray(cast(Any, space).keys())
        assert np.issubdtype(keys.dtype, np.integer), f"keys() are {keys.dtype}, not integers"
        assert keys.shape == (space.size,), f"keys() has shape {keys.shape}; size is {space.size}"
        assert np.all(np.diff(keys) > 0), "keys() do not ascend"
        for key in default_rng(0).choice(keys, SAMPLES).tolist():
            assert space.at(key).key == key, f"at({key}), one of keys(), has another key"
        missing = set(keys_of(samples(space)).tolist()) - set(keys.tolist())
        assert not missing, f"sampled keys {sorted(missing)} are not in keys()"

    def test_json_gives_an_equal_architecture(self, space: AnySpace) -> None:
        for architecture in samples(space):
            text = json.dumps(architecture.to_json(), allow_nan=False)
            read = space.from_json(json.loads(text))
            assert read == architecture, f"from_json({text}) is {read}, not {architecture}"
            assert hash(read) == hash(architecture), f"from_json({text}) has another hash"
            assert read.key == architecture.key, f"from_json({text}) has another key"

    def test_wrong_json_is_refused_in_one_line(self, space: AnySpace) -> None:
        for value in NO_ARCHITECTURE:
            refused(f"from_json({value!r})", space.from_json, value)

    def test_a_sample_is_in_the_space_and_a_function_of_the_generator(self, space: AnySpace) -> None:
        drawn = samples(space)
        assert drawn == samples(space), "equal generators gave different samples"
        assert all(architecture in space for architecture in drawn), "a sample is not in the space"
        if space.size is None or space.size > 1:
            assert len(set(keys_of(samples(space, count=10 * SAMPLES)).tolist())) > 1, "every sample has the same key"

    def test_what_is_no_architecture_is_not_in_the_space(self, space: AnySpace) -> None:
        for value in (None, 0, "", object()):
            assert value not in space, f"{value!r} is in the space"

    def test_a_code_names_its_places(self, space: AnySpace) -> None:
        assert space.codes, "the space has no code"
        for name, code in space.codes.items():
            assert len(code.names) == len(code.choices), f"code {name!r}: {code.names} and {code.choices} do not match"
            assert len(set(code.names)) == len(code.names), f"code {name!r}: two places have the same name"
            wrong = [count for count in code.choices if count is not None and count < 1]
            assert not wrong, f"code {name!r}: a place has {wrong} values"

    def test_a_code_gives_the_key_back(self, space: AnySpace) -> None:
        for name, code in space.codes.items():
            for architecture in samples(space):
                vector = np.asarray(code.encode(architecture))
                assert vector.shape == (len(code.choices),), f"code {name!r}: the vector's shape is {vector.shape}"
                assert vector.dtype == np.float64, f"code {name!r}: the vector is {vector.dtype}, not float64"
                for form in (vector, vector.tolist()):
                    decoded = code.decode(form)
                    assert decoded is not None, f"code {name!r}: {vector} decodes to None"
                    assert decoded.key == architecture.key, f"code {name!r}: {vector} decodes to another key"

    def test_a_code_decodes_any_vector_in_range_and_refuses_others(self, space: AnySpace) -> None:
        rng = default_rng(0)
        for name, code in space.codes.items():
            top = np.array([1 if count is None else count for count in code.choices], float)
            for _ in range(SAMPLES):
                decoded = code.decode(rng.random(len(top)) * top)
                assert decoded is None or decoded in space, f"code {name!r} decodes to {decoded}, not in the space"
            low, high = np.zeros(len(top)), np.zeros(len(top))
            low[-1], high[-1] = -1, top[-1] + 1
            for vector in (low, high, np.full(len(top), np.nan), np.zeros(len(top) + 1)):
                refused(f"decode({vector}) of code {name!r}", code.decode, vector)

    def test_moves_stay_in_the_space_and_are_functions_of_the_generator(self, space: AnySpace) -> None:
        def moved(seed: int) -> list[Architecture]:
            rng = default_rng(seed)
            children = []
            for mother, father in zip(samples(space), samples(space, 1), strict=True):
                children += [space.mutate(mother, rng), space.mutate(mother, rng, 2.5), space.mutate_once(mother, rng)]
                children += [space.crossover(mother, father, rng)]
            return children

        children = moved(0)
        assert children == moved(0), "equal generators gave different moves"
        outside = [child for child in children if child not in space]
        assert not outside, f"a move made {outside[:1]}, which is not in the space"

    def test_one_mutation_changes_the_key(self, space: AnySpace) -> None:
        rng = default_rng(0)
        for architecture in samples(space):
            if space.size != 1:
                assert space.mutate_once(architecture, rng).key != architecture.key, f"{architecture} did not change"

    def test_a_mutation_at_rate_0_changes_nothing(self, space: AnySpace) -> None:
        rng = default_rng(0)
        for architecture in samples(space):
            assert space.mutate(architecture, rng, 0.0).key == architecture.key, f"{architecture} changed at rate 0"

    def test_neighbours_are_others_and_each_is_there_once(self, space: AnySpace) -> None:
        for architecture in samples(space, count=8):
            neighbours = list(space.neighbours(architecture))
            keys = keys_of(neighbours).tolist()
            assert len(set(keys)) == len(keys), f"two neighbours of {architecture} have the same key"
            assert architecture.key not in keys, f"{architecture} is its own neighbour"
            assert all(neighbour in space for neighbour in neighbours), "a neighbour is not in the space"
            assert list(space.neighbours(architecture)) == neighbours, "the order of neighbours is not fixed"

    def test_a_crossover_of_equal_parents_is_their_equal(self, space: AnySpace) -> None:
        rng = default_rng(0)
        for architecture in samples(space):
            child = space.crossover(architecture, space.at(architecture.key), rng)
            assert child.key == architecture.key, f"{architecture} crossed with itself is {child}"

    def test_a_written_architecture_is_read_back(self, space: AnySpace) -> None:
        if not offers(space, Written):
            return
        grammar = cast(Any, space).grammar()
        for architecture in samples(space):
            tokens = list(grammar.write(architecture))
            assert len(tokens) <= grammar.longest, f"{len(tokens)} tokens; the longest string has {grammar.longest}"
            draft = grammar.begin()
            for token in tokens:
                assert not draft.done, f"the draft of {architecture} is done before its last token"
                assert token in draft.allowed, f"token {token} of {architecture} is not allowed there"
                assert 0 <= token < grammar.tokens, f"token {token}; there are {grammar.tokens}"
                draft.add(token)
            read = draft.finish()
            assert draft.done, f"the draft of {architecture} is not done after its last token"
            assert read is not None, f"the string of {architecture} is outside the space"
            assert read.key == architecture.key, f"the string of {architecture} is read as {read}"

    def test_any_string_that_the_grammar_allows_is_in_the_space_or_none(self, space: AnySpace) -> None:
        if not offers(space, Written):
            return
        grammar, rng = cast(Any, space).grammar(), default_rng(0)
        for _ in range(SAMPLES):
            read = write_randomly(grammar, rng)
            assert read is None or read in space, f"an allowed string is read as {read}, which is not in the space"

    def test_features_are_finite_and_a_function_of_the_key(self, space: AnySpace) -> None:
        keys = keys_of(samples(space))
        check_matrix("features_of(space, keys)", lambda some: features_of(space, some), keys)
        for name in MATRICES:
            method = getattr(space, name, None)
            if method is not None:
                check_matrix(f"{name}(keys)", method, keys)

    def test_graphs_are_acyclic_and_a_function_of_the_key(self, space: AnySpace) -> None:
        if not offers(space, Graphed):
            return
        keys, graphs = keys_of(samples(space)), cast(Any, space).graphs
        adjacency, kinds = graphs(keys)
        vertices = kinds.shape[1]
        assert adjacency.shape == (len(keys), vertices, vertices), f"adjacency has shape {adjacency.shape}"
        assert len(kinds) == len(keys), f"{len(kinds)} rows of kinds for {len(keys)} keys"
        for array, what in ((adjacency, "adjacency"), (kinds, "kinds")):
            assert array.dtype == np.float32, f"{what} is {array.dtype}, not float32"
            assert np.isin(array, (0, 1)).all(), f"{what} has values other than 0 and 1"
        present = kinds.sum(2)
        assert present.max() <= 1, "a vertex has two kinds"
        assert (present[:, -1] == 1).all(), "the last vertex, the output, has no kind"
        assert not (adjacency.any(1) | adjacency.any(2))[present == 0].any(), "a vertex without a kind has an edge"
        assert not np.linalg.matrix_power(adjacency.astype(np.int64), vertices).any(), "a graph has a cycle"
        for row in range(0, len(keys), 7):
            one = graphs(keys[row : row + 1])
            assert np.array_equal(one[0][0], adjacency[row]), "adjacency depends on the other keys of a call"
            assert np.array_equal(one[1][0], kinds[row]), "kinds depend on the other keys of a call"

    def test_costs_are_finite(self, space: AnySpace) -> None:
        if not offers(space, Priced):
            return
        for architecture in samples(space):
            cost = cast(Any, space).cost(architecture)
            assert all(np.isfinite(value) for value in cost.values()), f"{architecture} costs {cost}"
            assert cost == cast(Any, space).cost(architecture), f"two counts of {architecture} differ"

    def test_a_name_names_its_architecture(self, space: AnySpace) -> None:
        if not offers(space, Named):
            return
        for architecture in samples(space):
            name = cast(Any, space).name_of(architecture)
            assert len(name.split()) == 1, f"name {name!r} is empty or has white space"
            assert name == name.strip(), f"name {name!r} has white space around it"
            assert cast(Any, space).named(name).key == architecture.key, f"{name!r} names another architecture"
        refused("named('no architecture')", cast(Any, space).named, "no architecture")

    def test_a_diagram_is_acyclic_and_in_order(self, space: AnySpace) -> None:
        if not offers(space, capabilities.Drawn):
            return
        for architecture in samples(space):
            diagram = cast(Any, space).diagram(architecture)
            assert diagram.nodes, f"the diagram of {architecture} is empty"
            for edge in diagram.edges:
                assert 0 <= edge.source < edge.target < len(diagram.nodes), f"{edge} does not lead to a later node"

    def test_a_space_made_again_of_its_definition_is_the_same(self, space: AnySpace) -> None:
        definition = json.loads(json.dumps(dict(space.definition), allow_nan=False))
        check_same(space, make_space(space.name, definition), f"make_space({space.name!r}, {definition})")

    def test_a_copied_space_is_the_same(self, space: AnySpace) -> None:
        check_same(space, copy.deepcopy(space), "a deep copy of the space")


def check_same(space: AnySpace, other: AnySpace, what: str) -> None:
    """Raises `AssertionError` if another space does not behave as this one."""
    assert other.name == space.name, f"{what} is called {other.name!r}"
    assert dict(other.definition) == dict(space.definition), f"{what} has definition {other.definition}"
    assert other.size == space.size, f"{what} has size {other.size}, not {space.size}"
    assert samples(other) == samples(space), f"{what} draws other samples"
    for name, code in space.codes.items():
        assert name in other.codes, f"{what} has no code {name!r}"
        assert tuple(other.codes[name].choices) == tuple(code.choices), f"{what}: code {name!r} has other choices"
    keys = keys_of(samples(space))
    assert np.array_equal(features_of(other, keys), features_of(space, keys)), f"{what} has other features"


def check_matrix(what: str, method: Any, keys: NDArray[np.int64]) -> None:
    """Raises `AssertionError` if a method does not make float32 (architectures, columns) row by row."""
    matrix = method(keys)
    assert matrix.dtype == np.float32, f"{what} is {matrix.dtype}, not float32"
    assert matrix.ndim == 2, f"{what} has shape {matrix.shape}; expected (architectures, columns)"
    assert len(matrix) == len(keys), f"{what} has {len(matrix)} rows for {len(keys)} keys"
    assert np.isfinite(matrix).all(), f"{what} is not finite"
    for row in range(0, len(keys), 7):
        assert np.array_equal(method(keys[row : row + 1])[0], matrix[row]), (
            f"{what} depends on the other keys of a call"
        )
    assert method(keys[:0]).shape == (0, matrix.shape[1]), f"{what} of no keys has another number of columns"


def refused(what: str, function: Any, value: Any) -> None:
    """Raises `AssertionError` if a function does not refuse a value with an `ArchsweepError`."""
    try:
        answer = function(value)
    except ArchsweepError:
        return
    except Exception as error:
        raise AssertionError(f"{what} raises {type(error).__name__}, not ArchsweepError: {error}") from error
    raise AssertionError(f"{what} gives {answer!r}; expected an ArchsweepError")


def write_randomly(grammar: Any, rng: Generator) -> Any:
    """Returns what is read of a string of random allowed tokens."""
    draft = grammar.begin()
    for _ in range(grammar.longest):
        if draft.done:
            break
        allowed = list(draft.allowed)
        assert allowed, "no token is allowed, and the draft is not done"
        draft.add(allowed[int(rng.random() * len(allowed))])
    assert draft.done, f"a draft of {grammar.longest} tokens, the longest, is not done"
    return draft.finish()
