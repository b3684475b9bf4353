"""How fast is a bagged ensemble in one compiled program, against its members one after another?

===========  ===================================================================================
workload     members
===========  ===================================================================================
`mlp-small`  32 of that of `training.py`, each on a bootstrap sample of the digits
===========  ===================================================================================

jaxnn's are `nn.ensembles.bagging`, compiled before, all members at once or a block of 8 at a time, out-of-bag
predictions included; and a compiled run that is called for each member. scikit-learn's is its `BaggingClassifier` of
its networks. PyTorch trains members in a loop, `TIMED` of them, on samples as large. Times are of a member. The loss is
the cross entropy of all training digits by the vote of all members, or, of members that are trained alone, the mean of
their own losses at the end. The rest is as in `_race.py`.

    python -m benchmarks.ensemble
    python -m benchmarks.ensemble --quick
    python -m benchmarks.ensemble --rounds 9 --json benchmarks/results/ensemble-my-machine.json

Last measured answer (results/cpu-2-cores.json: two cores of an AMD EPYC, jax 0.10.2, torch 2.13.0,
scikit-learn 1.9.1, five rounds): 18 ms a member all at once; 8 at a time, and in a call each without out-of-bag
predictions, 0.85 times (0.80 .. 0.94) as long, so on one CPU device it is memory that members at once run out of, and
`block` is worth setting; scikit-learn takes 11 times as long (11 .. 14), PyTorch 18 times (16 .. 20).
"""

import functools
import warnings
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from benchmarks import _command, _race, _timing, _train_pytorch, training
from benchmarks._workload import Contestant, Workload

TIMED = 4
"""Members that PyTorch trains."""


@dataclass(frozen=True)
class Bag:
    """So many members of a workload."""

    workload: Workload
    members: int

    def __str__(self) -> str:
        return f"{self.members} members on bootstrap samples, of {self.workload}"


WORKLOADS = {"mlp-small": lambda quick: Bag(training.mlp_small(quick), 4 if quick else 32)}


def run(workload: Workload, key: jax.Array, data: nn.Data) -> nn.training.TrainState:
    """Train one member."""
    trainer = nn.trainer(workload.jaxnn, nn.losses.cross_entropy, nn.adam(workload.learning_rate))
    start = trainer.init(key, data.x)
    return nn.fit(trainer, start, data, epochs=workload.epochs, batch_size=workload.batch_size)[0]


def in_one_program(bag: Bag, block: int | None = None) -> Contestant:
    """Return all members as one compiled program."""
    workload, data = bag.workload, jax.device_put(bag.workload.data)
    train = functools.partial(run, workload)

    @jax.jit
    def bagged(key, data):
        made = nn.ensembles.bagging(workload.jaxnn, train, data, key, members=bag.members, block=block)
        logits, _ = made.model.apply(made.params, made.state, data.x)
        return nn.losses.cross_entropy(logits, data.y).mean(), made.out_of_bag

    key = jax.random.key(0)
    return Contestant(
        lambda: float(jax.block_until_ready(bagged(key, data))[0]),
        bag.members,
        lambda: _timing.program(bagged, key, data),
    )


def a_call_each(bag: Bag) -> Contestant:
    """Return a call for each member, of one compiled program."""
    workload, data = bag.workload, jax.device_put(bag.workload.data)
    key = jax.random.key(0)

    @jax.jit
    def member(key, rows, data):
        sample = data.take(rows)
        ts = run(workload, key, sample)
        logits, _ = workload.jaxnn.apply(ts.params, ts.state, sample.x)
        return nn.losses.cross_entropy(logits, sample.y).mean()

    def train_all() -> float:
        rows = nn.data.bootstrap(jax.random.fold_in(key, 1), data.examples, bag.members)
        each = [member(nn.search.member_key(key, 0, m), rows[m], data) for m in range(bag.members)]
        return float(jnp.stack(each).mean())

    rows = jax.ShapeDtypeStruct((data.examples,), jnp.int32)
    return Contestant(train_all, bag.members, lambda: _timing.program(member, key, rows, data))


def pytorch(bag: Bag, *, threads: int) -> Contestant:
    """Return a loop for each of some members."""
    workload, rng = bag.workload, np.random.default_rng(0)
    (x, y, _), n = workload.data, workload.data.examples
    samples = [nn.Data(x[rows], y[rows]) for rows in rng.integers(0, n, (TIMED, n))]
    members = [_train_pytorch.pytorch(replace(workload, data=sample), threads=threads) for sample in samples]
    return Contestant(lambda: float(np.mean([member.run() for member in members])), TIMED, members[0].program)


def scikit_learn(bag: Bag) -> Contestant:
    """Return scikit-learn's bagging, its members one after another on one core as by default."""
    from sklearn.ensemble import BaggingClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    workload = bag.workload
    x, y, _ = workload.data
    member = MLPClassifier(
        hidden_layer_sizes=(32,),
        alpha=0.0,
        batch_size=workload.batch_size,  # pyright: ignore[reportArgumentType] - a number or "auto"
        learning_rate_init=workload.learning_rate,
        max_iter=workload.epochs,
        n_iter_no_change=workload.epochs + 1,  # never stop early
    )

    def train_all() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            bagged = BaggingClassifier(member, n_estimators=bag.members, oob_score=not few, random_state=0).fit(x, y)
        return float(log_loss(y, bagged.predict_proba(x)))

    few = bag.members < 10  # where it warns that some examples are in all samples
    return Contestant(train_all, bag.members)


def measure(bag: Bag, *, rounds: int, quick: bool) -> _command.Results:
    """Return what a member of every contestant took, and what the machine could have done."""
    entered: dict[str, Any] = {
        "jaxnn, all at once": in_one_program(bag),
        "jaxnn, 8 at a time": in_one_program(bag, 8),
        "jaxnn, a call each": a_call_each(bag),
    }
    threads = sorted({1, _timing.cores()})
    peers = {f"PyTorch, {n} thread{'s' * (n > 1)}": functools.partial(pytorch, threads=n) for n in threads}
    made, left_out = _timing.enter(peers | {"scikit-learn": scikit_learn}, bag)
    workload = bag.workload
    work = workload.run_steps * workload.operations, workload.run_steps * workload.moved
    entered |= made
    return _race.race(str(bag), entered, *work, part="member", left_out=left_out, rounds=rounds, quick=quick)


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, _race.table, rounds=5)
