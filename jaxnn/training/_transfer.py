"""Transfer: a run that begins with what another model has learnt, matched by name, and with parts that are new."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import tree
from jaxnn.errors import describe, is_array
from jaxnn.layers._layer import outline
from jaxnn.training._trainer import INIT, Trainer, TrainState
from jaxnn.typing import Key, Params, State


def transfer(
    trainer: Trainer, key: Key, x: Any, params: Params, state: State, *, fresh: tuple[str, ...] | str = ()
) -> TrainState:
    """Begin a run of `trainer` with the parameters and the layer state of another trained model.

    Leaves are matched by name: whatever the trainer's model has is taken over, running statistics of normalization
    included, and only what `fresh` matches is drawn anew, as `trainer.init(key, x)` would draw it. What the trainer
    freezes is held fixed. The optimizer, the counts of steps and epochs, and all randomness begin anew.

    It is strict, for a layer that silently begins anew, or is silently left behind, looks like a result: every leaf is
    taken over, or is matched by `fresh`. Floating leaves are cast to the dtype that the model has for them.

    It is pure, so an ensemble is transferred by `vmap`, over keys, sources or both. Within `jit` nothing is drawn but
    what is fresh.

    Args:
        trainer: Whose run begins; its model is usually the old one with another head (`nn.replace_layer`).
        key: What the fresh leaves and later randomness come from.
        x: Inputs, or their outline: only shape and dtype matter.
        params: All of the old model, `nn.tree.merge(ts.params, ts.frozen)` of a train state, or as read from a file. If
            the new model has all of the old one as a part of its own, put it there: `{"body": params}`.
        state: Of the layers of the old model, in the same form.
        fresh: Regular expressions for whole names, as `freeze` takes them: what of the new model is drawn anew, and
            what of the old one is left behind.

    Raises:
        ValueError: A leaf that is not fresh is in one of the models only, or has another shape there, or is no floating
            array in one of them and has another dtype; a pattern of `fresh` matches no name of either model, or one of
            `freeze` none of the new.
        ShapeError: A layer cannot take what the one before it gives.

    A model of ten classes goes on with two others, first the new head alone:

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> old = nn.serial(stem=nn.Dense(8), body=nn.Dense(8), head=nn.Dense(10))
    >>> params, state = old.init(jax.random.key(0), jnp.ones((1, 3)))  # and trained
    >>> model = nn.replace_layer(old, "head", nn.Dense(2))
    >>> trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(1e-3), freeze=("stem/.*", "body/.*"))
    >>> data = nn.Data(jnp.ones((4, 3)), jnp.array([0, 1, 0, 1]))
    >>> ts = transfer(trainer, jax.random.key(1), data.x, params, state, fresh="head/.*")
    >>> ts, history = nn.fit(trainer, ts, data, epochs=2, batch_size=4)
    >>> bool((ts.frozen["stem"]["w"] == params["stem"]["w"]).all())
    True

    Gradual unfreezing is a loop over what is still frozen, with `refreeze`. Rates that fall from the head down, here by
    2.6 a layer, are `by_name`'s, in which each part counts its steps from when it is unfrozen:

    >>> rates = {"head": 1e-3, "body": 1e-3 / 2.6, "stem": 1e-3 / 2.6**2}
    >>> optimizer = nn.optim.by_name({f"{part}/.*": nn.adam(rate) for part, rate in rates.items()})
    >>> trainer = nn.trainer(model, nn.losses.cross_entropy, optimizer, freeze=("stem/.*", "body/.*"))
    >>> ts = transfer(trainer, jax.random.key(1), data.x, params, state, fresh="head/.*")
    >>> for frozen in [("stem/.*", "body/.*"), ("stem/.*",), ()]:
    ...     trainer, ts = nn.refreeze(trainer, ts, frozen)
    ...     ts, history = nn.fit(trainer, ts, data, epochs=2, batch_size=4)
    >>> bool((ts.params["stem"]["w"] == params["stem"]["w"]).all())
    False

    Source: Yosinski et al., "How transferable are features in deep neural networks?" (2014); Howard and Ruder,
    "Universal language model fine-tuning for text classification" (2018), for the loop and the rates.
    """
    fresh, x = (fresh,) if isinstance(fresh, str) else tuple(fresh), outline(x)
    draw = lambda: trainer.model.init(jax.random.fold_in(key, INIT), x)
    drawn, given = jax.eval_shape(draw), (params, state)
    pairs = [(tree.named_leaves(new), tree.named_leaves(old)) for new, old in zip(drawn, given, strict=True)]
    names = sorted({name for pair in pairs for leaves in pair for name in leaves})
    is_fresh = tree.mask(dict.fromkeys(names, 0), fresh)
    _check(pairs, is_fresh, given)
    if any(is_fresh[name] for new, _ in pairs for name in new):
        drawn = draw()

    def taken(drawn: Any, old: Mapping[str, Any]) -> Any:
        def take(name: str, leaf: Any) -> Any:
            if is_fresh[name]:
                return leaf
            kept = jnp.asarray(old[name])
            return kept if kept.dtype == leaf.dtype else kept.astype(leaf.dtype)

        return tree.map_named(take, drawn)

    return trainer.begin(key, *(taken(new, old) for new, (_, old) in zip(drawn, pairs, strict=True)))


_Pair = tuple[dict[str, Any], dict[str, Any]]  # leaves by name: what the new model has, and what is given


def _check(pairs: list[_Pair], is_fresh: Mapping[str, bool], given: tuple[Params, State]) -> None:
    """Raise one error that names every leaf which is not fresh and cannot be taken over.

    Raises:
        ValueError: There is one.
    """
    wrong = {name: line for new, old in pairs for name, line in _unlike(new, old) if not is_fresh[name]}
    if not wrong:
        return
    holes = any(leaf is None for leaf in jax.tree.leaves(given[0], is_leaf=lambda leaf: leaf is None))
    patterns = ", ".join(map(repr, _patterns(set(wrong), set(is_fresh))))
    raise ValueError(
        "expected every leaf of the model among what is given, in its shape, and no other, because leaves that are not "
        "fresh are taken over by name; got\n" + "\n".join(wrong.values()) + "\n"
        + ("  hint: all parameters of a train state are nn.tree.merge(ts.params, ts.frozen)" if holes else
           f"  hint: fresh=({patterns},) draws these anew, and leaves behind what has no place")
    )  # fmt: skip


def _unlike(new: dict[str, Any], old: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of leaves that are not the same in shape and kind of dtype, and what an error says of each."""
    for name in sorted(new.keys() | old.keys()):
        if name not in old:
            yield name, f"  {name}: {describe(new[name])} in the model, and none given"
        elif name not in new:
            yield name, f"  {name}: none in the model, and {describe(old[name])} given"
        elif not is_array(old[name]) or old[name].shape != new[name].shape or not _castable(old[name], new[name]):
            yield name, f"  {name}: {describe(new[name])} in the model, and {describe(old[name])} given"


def _castable(old: Any, new: Any) -> bool:
    return old.dtype == new.dtype or all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in (old, new))


def _patterns(wrong: set[str], names: set[str]) -> list[str]:
    """Return patterns that match these names and no others: of whole layers where all of a layer is wrong."""
    patterns = set()
    for name in wrong:
        parts = name.split("/")
        above = ["/".join(parts[:depth]) + "/" for depth in range(1, len(parts))]
        whole = (layer for layer in above if all(other in wrong for other in names if other.startswith(layer)))
        patterns.add(next((f"{layer}.*" for layer in whole), name))
    return sorted(patterns)
