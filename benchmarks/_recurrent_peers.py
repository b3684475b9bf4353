"""The recurrent layers of the peers, each with the weights of ours: y, dx, and the gradients by w_x, w_h and b."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _timing, _train_keras
from benchmarks._recurrent import Drawn, Result, Run, Workload


def flax(of: Workload, given: Drawn) -> Run:
    """Return flax.linen's."""
    from flax import linen

    cell = {"LSTM": linen.OptimizedLSTMCell, "GRU": linen.GRUCell, "RNN": linen.SimpleCell}[of.kind]
    module = linen.RNN(cell(of.hidden))
    names = {"LSTM": "ifgo", "GRU": "rzn", "RNN": ("",)}[of.kind]
    w_x, w_h, b = (jnp.split(given.params[name], of.gates, axis=-1) for name in ("w_x", "w_h", "b"))
    bias_of_h = of.kind == "LSTM"
    params = {}
    for n, k_x, k_h, b_n in zip(names, w_x, w_h, b, strict=True):
        params[f"i{n}"] = {"kernel": k_x} if bias_of_h else {"kernel": k_x, "bias": b_n}
        params[f"h{n}"] = {"kernel": k_h, "bias": b_n} if bias_of_h else {"kernel": k_h}
    if of.kind == "GRU":
        params["hn"]["bias"] = jnp.zeros(of.hidden)

    @jax.jit
    def run(params, x, dy):
        def of_x(params, x):
            return masked(module.apply({"params": {"cell": params}}, x, seq_lengths=given.lengths), of, given)

        y, backward = jax.vjp(of_x, params, x)
        d_params, dx = backward(dy)
        side_by_side = lambda part, leaf: jnp.concatenate([d_params[f"{part}{n}"][leaf] for n in names], axis=-1)
        d_biases = side_by_side("h" if bias_of_h else "i", "bias")
        return y, dx, {"w_x": side_by_side("i", "kernel"), "w_h": side_by_side("h", "kernel"), "b": d_biases}

    return functools.partial(run, params, given.x, given.dy)


def nnx(of: Workload, given: Drawn) -> Run:
    """Return flax.nnx's, whose gates lie side by side as ours do."""
    from flax import nnx

    rngs = nnx.Rngs(0)
    cell = {"LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell, "RNN": nnx.SimpleCell}[of.kind]
    module: Any = nnx.RNN(cell(of.features, of.hidden, rngs=rngs), rngs=False)
    with_bias = "dense_h" if of.kind == "LSTM" else "dense_i"
    module.cell.dense_i.kernel[...], module.cell.dense_h.kernel[...] = given.params["w_x"], given.params["w_h"]
    getattr(module.cell, with_bias).bias[...] = given.params["b"]
    graph, params = nnx.split(module)

    @jax.jit
    def run(params, x, dy):
        def of_x(params, x):
            start = nnx.Rngs(0)  # with which it makes zeros
            return masked(nnx.merge(graph, params)(x, seq_lengths=given.lengths, rngs=start), of, given)

        y, backward = jax.vjp(of_x, params, x)
        d_params, dx = backward(dy)
        d_cell = nnx.to_pure_dict(d_params)["cell"]
        kernels = {"w_x": d_cell["dense_i"]["kernel"], "w_h": d_cell["dense_h"]["kernel"]}
        return y, dx, {**kernels, "b": d_cell[with_bias]["bias"]}

    return functools.partial(run, params, given.x, given.dy)


def equinox(of: Workload, given: Drawn) -> Run:
    """Return a scan of equinox's cell for each sequence, as its documentation has it."""
    import equinox

    if of.kind == "RNN":
        raise ImportError("it has no cell of this kind")
    cell = getattr(equinox.nn, f"{of.kind}Cell")(of.features, of.hidden, key=jax.random.key(0))
    leaves = lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias)
    cell = equinox.tree_at(leaves, cell, (given.params["w_x"].T, given.params["w_h"].T, given.params["b"]))
    if of.kind == "GRU":
        cell = equinox.tree_at(lambda cell: cell.bias_n, cell, jnp.zeros(of.hidden))

    def of_sequence(cell, x):
        def step(h, x):
            h = cell(x, h)
            return h, h[0] if of.kind == "LSTM" else h

        zeros = jnp.zeros(of.hidden)
        return jax.lax.scan(step, (zeros, zeros) if of.kind == "LSTM" else zeros, x)[1]

    @jax.jit
    def run(cell, x, dy):
        of_x = lambda cell, x: masked(jax.vmap(of_sequence, in_axes=(None, 0))(cell, x), of, given)
        y, backward = jax.vjp(of_x, cell, x)
        d_cell, dx = backward(dy)
        d_w_x, d_w_h, db = leaves(d_cell)
        return y, dx, {"w_x": d_w_x.T, "w_h": d_w_h.T, "b": db}

    return functools.partial(run, cell, given.x, given.dy)


def keras(of: Workload, given: Drawn) -> Run:
    """Return that of Keras on JAX, without its state as its documentation calls it; of a GRU, z comes before r."""
    layers = _train_keras.keras_on_jax().layers
    layer = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}[of.kind](of.hidden, return_sequences=True)
    layer.build(given.x.shape)
    of_order = [1, 0, 2] if of.kind == "GRU" else range(of.gates)  # the same there and back
    ordered = lambda w: jnp.concatenate([jnp.split(w, of.gates, axis=-1)[gate] for gate in of_order], axis=-1)
    w_x, w_h, b = (ordered(given.params[name]) for name in ("w_x", "w_h", "b"))
    params = [w_x, w_h, jnp.stack([b, jnp.zeros_like(b)]) if of.kind == "GRU" else b]
    mask = None if given.lengths is None else jnp.arange(of.time) < given.lengths[:, None]

    @jax.jit
    def run(params, x, dy):
        def of_x(params, x):
            y, _ = layer.stateless_call(params, layer.non_trainable_variables, x, mask=mask)
            return masked(y, of, given)

        y, backward = jax.vjp(of_x, params, x)
        (d_w_x, d_w_h, db), dx = backward(dy)
        if of.kind == "GRU":
            db = db[0]
        return y, dx, {"w_x": ordered(d_w_x), "w_h": ordered(d_w_h), "b": ordered(db)}

    return functools.partial(run, params, given.x, given.dy)


def masked(y: Any, of: Workload, given: Drawn) -> Any:
    """Return y with zeros after the end of each sequence."""
    if given.lengths is None:
        return y
    return jnp.where(jnp.arange(of.time)[None, :, None] < given.lengths[:, None, None], y, 0)


def pytorch(of: Workload, given: Drawn) -> Callable[[], Result]:
    """Return PyTorch's; it has two biases, of which the second is 0."""
    import torch

    if jax.default_backend() != "cpu":
        raise ImportError("it is asked for recurrence on a CPU")
    torch.set_num_threads(_timing.cores())
    network = getattr(torch.nn, of.kind)(of.features, of.hidden, batch_first=True)
    tensor = lambda a: torch.from_numpy(np.array(a))
    with torch.no_grad():
        network.weight_ih_l0.copy_(tensor(given.params["w_x"]).T)
        network.weight_hh_l0.copy_(tensor(given.params["w_h"]).T)
        network.bias_ih_l0.copy_(tensor(given.params["b"]))
        network.bias_hh_l0.zero_()
    x, dy = tensor(given.x).requires_grad_(), tensor(given.dy)
    lengths = None if given.lengths is None else tensor(given.lengths)
    rnn = torch.nn.utils.rnn

    def run() -> Result:
        if lengths is None:
            y, _ = network(x)
        else:
            y, _ = network(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            y, _ = rnn.pad_packed_sequence(y, batch_first=True, total_length=of.time)
        dx, d_w_x, d_w_h, db, _ = torch.autograd.grad(y, [x, *network.parameters()], dy)
        return y.detach(), dx, {"w_x": d_w_x.T, "w_h": d_w_h.T, "b": db}

    return run
