"""Leaves by name: what a leaf is called, and selecting, splitting and counting by it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import tree


class Moments(NamedTuple):
    mu: Any
    nu: Any


PARAMS = {"stem": {"w": 1.0, "b": 2.0}, "blocks": [{"w": 3.0}, {"w": 4.0}], "head": {"w": 5.0}}
NAMES = ["blocks/0/w", "blocks/1/w", "head/w", "stem/b", "stem/w"]


@pytest.mark.parametrize(
    ("nested", "names"),
    [
        (PARAMS, NAMES),
        ({"a": (1, 2)}, ["a/0", "a/1"]),
        ((Moments({"w": 1}, {"w": 2}), 3), ["0/mu/w", "0/nu/w", "1"]),
        ({7: 1}, ["7"]),
        ({"a": None, "b": {}, "c": 1}, ["c"]),
        (1.0, [""]),
        ({}, []),
    ],
)
def test_a_leaf_is_named_by_the_keys_on_the_way_to_it(nested, names):
    assert list(tree.named_leaves(nested)) == names
    assert list(tree.named_leaves(nested).values()) == jax.tree.leaves(nested)


def test_the_leaves_of_a_run_have_names_that_tell_what_they_are():
    trainer = nn.trainer(nn.serial(nn.Dense(2), nn.BatchNorm()), nn.losses.mse, nn.adam(0.1), freeze="dense_0/b")
    names = set(tree.named_leaves(jax.eval_shape(trainer.init, jax.random.key(0), jnp.zeros((1, 3)))))
    assert {
        "params/dense_0/w",
        "frozen/dense_0/b",
        "state/batch_norm_0/mean",
        "opt_state/0/mu/dense_0/w",
        "step",
    } <= names
    assert "params/dense_0/b" not in names


def test_map_named_gives_every_leaf_its_name_and_keeps_the_structure():
    mapped = tree.map_named(lambda name, leaf: (name, leaf), PARAMS)
    is_pair = lambda x: isinstance(x, tuple)
    assert jax.tree.leaves(mapped, is_leaf=is_pair) == list(tree.named_leaves(PARAMS).items())
    assert jax.tree.structure(mapped, is_leaf=is_pair) == jax.tree.structure(PARAMS)


def test_a_key_that_has_no_name_is_refused():
    class Odd:
        pass

    jax.tree_util.register_pytree_with_keys(Odd, lambda odd: (((Odd, 1.0),), None), lambda _, children: Odd())
    with pytest.raises(TypeError):
        tree.named_leaves(Odd())


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        ([], []),
        (["stem/.*"], ["stem/b", "stem/w"]),
        ("stem/.*", ["stem/b", "stem/w"]),
        ([".*/b", "head/w"], ["head/w", "stem/b"]),
        (["blocks/[0-9]/w"], ["blocks/0/w", "blocks/1/w"]),
        (iter(["head/.*"]), ["head/w"]),
        ([".*"], NAMES),
    ],
    ids=["none", "one", "a bare string", "two", "digits", "any iterable", "all"],
)
def test_mask_selects_the_leaves_whose_whole_name_matches(patterns, selected):
    chosen = tree.mask(PARAMS, patterns)
    assert jax.tree.structure(chosen) == jax.tree.structure(PARAMS)
    assert [name for name, yes in tree.named_leaves(chosen).items() if yes] == selected


def test_part_of_a_name_is_not_enough():
    nested = {"w": 1, "w2": 2, "head": {"w": 3, "w2": 4}}
    assert tree.mask(nested, ["w"]) == {"w": True, "w2": False, "head": {"w": False, "w2": False}}
    assert tree.mask(nested, ["head/w"]) == {"w": False, "w2": False, "head": {"w": True, "w2": False}}


@pytest.mark.parametrize("pattern", ["stem", "w", "stem/", "head/w/", "encoder/.*"])
def test_a_pattern_that_matches_no_whole_name_is_refused_with_a_list_of_names(pattern):
    with pytest.raises(ValueError, match="whole name") as caught:
        tree.mask(PARAMS, ["head/.*", pattern])
    assert str(caught.value) == (
        f"expected every pattern to match the whole name of some leaf; {pattern!r} matches none of: {', '.join(NAMES)}"
        + ("\n  hint: all of a layer is 'stem/.*'" if pattern == "stem" else "")
    )


def test_a_pattern_that_is_no_regular_expression_is_refused():
    with pytest.raises(ValueError, match=r"expected a regular expression, such as 'stem/\.\*'; got '\*'"):
        tree.mask(PARAMS, ["*"])


def test_every_pattern_that_matches_nothing_is_named():
    with pytest.raises(ValueError, match=r"'a', 'b' matches none of"):
        tree.mask(PARAMS, ["a", "head/w", "b"])


MASKS = [["stem/.*"], [".*"], [], [".*/w"]]


@pytest.mark.parametrize("patterns", MASKS, ids=str)
def test_merge_undoes_split_in_either_order(patterns):
    selected, others = tree.split(PARAMS, tree.mask(PARAMS, patterns))
    assert tree.merge(selected, others) == tree.merge(others, selected) == PARAMS


@pytest.mark.parametrize("patterns", MASKS, ids=str)
def test_split_puts_every_leaf_on_one_side_and_none_on_the_other(patterns):
    chosen = tree.mask(PARAMS, patterns)
    selected, others = map(tree.named_leaves, tree.split(PARAMS, chosen))
    assert list(selected) == [name for name, yes in tree.named_leaves(chosen).items() if yes]
    assert selected | others == tree.named_leaves(PARAMS)
    assert not selected.keys() & others.keys()


def test_merge_with_nothing_is_the_tree_itself():
    assert tree.merge(PARAMS, {}) is PARAMS


def test_merge_keeps_leaves_that_are_false_or_zero():
    assert tree.merge({"a": 0, "b": None}, {"a": None, "b": False}) == {"a": 0, "b": False}


def test_split_and_merge_work_under_jit():
    params = jax.tree.map(jnp.asarray, PARAMS)
    chosen = tree.mask(params, ["head/.*"])
    doubled = jax.jit(lambda params: tree.merge(*tree.split(jax.tree.map(lambda p: 2 * p, params), chosen)))(params)
    assert jax.tree.map(float, doubled) == jax.tree.map(lambda p: 2 * p, PARAMS)


@pytest.mark.parametrize(
    ("nested", "count", "nbytes"),
    [
        ({"w": np.zeros((3, 4), np.float32), "b": np.zeros(4, np.float32)}, 16, 64),
        ({"half": jnp.zeros(5, jnp.bfloat16), "byte": jnp.zeros(3, jnp.int8)}, 8, 13),
        ({"outline": jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32)}, 10**12, 4 * 10**12),
        (jnp.zeros(()), 1, 4),
        ({"empty": jnp.zeros((0, 3)), "frozen": None}, 0, 0),
        ({}, 0, 0),
    ],
)
def test_elements_and_bytes_are_counted_over_all_leaves(nested, count, nbytes):
    assert (tree.count(nested), tree.nbytes(nested)) == (count, nbytes)


@pytest.mark.parametrize("name", ["a/b", ""])
def test_names_of_layers_do_not_hold_what_joins_them(name):
    with pytest.raises(ValueError, match=r"expected names of layers without '/', because it joins them"):
        nn.serial(**{name: nn.relu})
