"""Backpropagation by hand: one neuron, two neurons number by number, a network, and a broken backward.

Question: Is the gradient that we work out with pencil and paper the one that jax.grad derives, and
    would we notice if it were not?
Command: python examples/backprop_by_hand.py
Hardware: any CPU.
Time: under ten seconds on one core, nearly all of it compilation.
Expected: Two neurons in a chain, with x = 0.1, w1 = 0.15, b1 = 0.4, w2 = 0.45, b2 = 0.65 and the target
    T = 0.25, give a2 = 0.7152516803 and E = 0.1082295630. The gradient is dE/dw1 = 0.0010213959,
    dE/db1 = 0.0102139588, dE/dw2 = 0.0570703982, dE/db2 = 0.0947562810. One step at the learning rate
    0.4 brings E to 0.1032979247, and 500 steps bring it below 1e-10. By hand and by jax.grad, the
    gradients differ by less than 1e-12 of themselves. A backward that forgets a factor trains just as
    well and is reported all the same: DISAGREES.

To be read from top to bottom, an hour into the subject: you know what a derivative is and what a neuron does.

Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986), whose
neurons, error and gradients these are.
"""

from inspect import getsource
from textwrap import dedent, indent

import jax
import jax.numpy as jnp

import jaxnn as nn

# A network is a long formula. It turns an input and a handful of parameters into an output, and one
# more formula turns the output into an error, E: a single number that says how bad the output is.
# To learn is to change the parameters so that E falls, and to know which way to change them we need
# one derivative for each: how much does E change if this parameter changes a little? All of these
# together are the gradient.
#
# Backpropagation finds the whole gradient in a few times the time that it takes to find E, however
# many parameters there are. It is one idea, the chain rule, and one piece of bookkeeping: remember
# on the way forward what you will want on the way back. Here are the numbers that we shall follow:
# an input, the output that we want for it, by how much to step, and the four parameters of two
# neurons.

X, TARGET, LEARNING_RATE = 0.1, 0.25, 0.4
W1, B1, W2, B2 = 0.15, 0.4, 0.45, 0.65


# ## 1. One neuron
#
# A neuron multiplies its input by a weight, adds a bias, and squashes the sum to lie between 0 and
# 1:
#
#     z = w x + b,    a = sigmoid(z) = 1 / (1 + exp(-z)).
#
# These are two steps, and the library has each of them as an *op*: a function with its derivative
# beside it. `op.fwd` is the way forward. It returns the output and what it remembers, and what it
# remembers is whatever its derivative is made of. For z = w x + b that is w, which is dz/dx, and x,
# which is dz/dw. For the sigmoid it is a, for da/dz happens to be a (1 - a), and so z itself may be
# forgotten.
#
# `op.bwd` is the way back. It takes what was remembered and how much the final number changes with
# the op's output, and it returns how much the final number changes with each of the op's inputs. So
# each op multiplies by its own derivative and knows nothing of its neighbours, which is all that
# the chain rule asks:
#
#     da/dw = da/dz dz/dw = a (1 - a) x.
#
# In code we write `dw` for the change of the final number with w. Here the final number is a
# itself, and so we begin with da = 1. (`linear` takes any number of inputs to any number of
# neurons, so w is a matrix, here 1 by 1.)


def one_neuron() -> None:
    """Go forward through one neuron and back, and measure one of the derivatives to see what it means."""
    x, w, b = jnp.array([X]), jnp.array([[W1]]), jnp.array([B1])

    z, seen_by_linear = nn.ops.linear.fwd(x, w, b)
    a, seen_by_sigmoid = nn.sigmoid.fwd(z)

    (dz,) = nn.sigmoid.bwd(seen_by_sigmoid, jnp.ones_like(a))
    dx, dw, db = nn.ops.linear.bwd(seen_by_linear, dz)

    title("1. One neuron")
    print(f"forward    z = w x + b       {digits(z)}   remembers x = {X} and w = {W1}")
    print(f"           a = sigmoid(z)    {digits(a)}   remembers a")
    print(f"backward   da/dz             {digits(dz)}   = a (1 - a)")
    print(f"           da/dw             {digits(dw)}   = da/dz x")
    print(f"           da/db             {digits(db)}   = da/dz 1")
    print(f"           da/dx             {digits(dx)}   = da/dz w")

    # What does da/dw mean? Nudge w a little up and a little down, and see how far a moves for each unit of w.
    nudge = 1e-6
    up, down = (nn.sigmoid(nn.ops.linear(x, w + h, b)) for h in (nudge, -nudge))
    print(f"measured   da/dw             {digits((up - down) / (2 * nudge))}   by nudging w by {nudge}")


# ## 2. Two neurons in a chain
#
# Now let the output of one neuron be the input of another, and compare what comes out with the
# target T:
#
#     z1 = w1 x + b1,    a1 = sigmoid(z1),
#     z2 = w2 a1 + b2,   a2 = sigmoid(z2),
#     E = 1/2 (T - a2)^2.
#
# The error is an op like the others. The library has errors of its own, but an op is so small a
# thing that we can write this one: the function, a forward that remembers, and a backward. The 1/2
# is there to meet the 2 that comes down from the square: dE/da2 = -(T - a2), and dE/dT is the
# opposite of that. (The squared error without the 1/2 has the gradient -2 (T - a2). Which of the
# two is meant is a frequent reason why two people's gradients differ.)


@nn.Op
def half_squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Half the squared error of each element, E = 1/2 (T - a)^2."""
    return (target - prediction) ** 2 / 2


def half_squared_error_fwd(prediction, target):
    """Remember how far the prediction is below the target."""
    missing = target - prediction
    return missing**2 / 2, missing


def half_squared_error_bwd(missing, d_error):
    """dE/da = -(T - a) and dE/dT = T - a."""
    return -missing * d_error, missing * d_error


half_squared_error.defvjp(half_squared_error_fwd, half_squared_error_bwd)


# Forward, we keep what every op remembers. Backward, we go through the same five ops from the last
# to the first and hand each what it remembered. Every line takes the derivative that the line above
# it left: that is the whole method. Written out, with a (1 - a) for every sigmoid on the way, it
# says
#
#     dE/dz2 = -(T - a2) a2 (1 - a2),      dE/dw2 = dE/dz2 a1,    dE/db2 = dE/dz2,
#     dE/dz1 = dE/dz2 w2 a1 (1 - a1),      dE/dw1 = dE/dz1 x,     dE/db1 = dE/dz1.
#
# Look at the second row. To reach the first neuron, the derivative passed through the second:
# through its weight and through the slope of a sigmoid. A formula that stops at dE/da da/dz dz/dw
# is right for the last neuron only, and each earlier one has a pair of factors more. A slope of a
# sigmoid is 1/4 at most, so with weights of ordinary size the gradient shrinks at every neuron that
# it passes. In a long chain it vanishes.


def forward_and_backward(w1, b1, w2, b2):
    """Return the values on the way forward, and the gradient that the way back gives, each by name."""
    x, target = jnp.array([X]), jnp.array([TARGET])

    z1, seen_z1 = nn.ops.linear.fwd(x, w1, b1)
    a1, seen_a1 = nn.sigmoid.fwd(z1)
    z2, seen_z2 = nn.ops.linear.fwd(a1, w2, b2)
    a2, seen_a2 = nn.sigmoid.fwd(z2)
    error, seen_error = half_squared_error.fwd(a2, target)

    da2, _ = half_squared_error.bwd(seen_error, jnp.ones_like(error))
    (dz2,) = nn.sigmoid.bwd(seen_a2, da2)
    da1, dw2, db2 = nn.ops.linear.bwd(seen_z2, dz2)
    (dz1,) = nn.sigmoid.bwd(seen_a1, da1)
    _, dw1, db1 = nn.ops.linear.bwd(seen_z1, dz1)

    values = {"z1": z1, "a1": a1, "z2": z2, "a2": a2, "E": error}
    return values, {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}


# One step of gradient descent moves each parameter against its own derivative, p <- p - 0.4 dE/dp,
# and E should be smaller afterwards. The order matters. All four derivatives are of the network as
# it was, so all four are found before any parameter moves: dE/dw1 contains w2, and it is the *old*
# w2 that is meant, the one that made E. (By hand it is easy to go wrong here, for w2 comes first on
# the way back, and one is tempted to improve it at once. In the code we cannot, for `linear`
# remembered the old one.)
#
# This is what should come out, to ten decimals. These numbers were worked out apart from this
# program, and it stops if one of them is not met.

EXPECTED = {
    "z1": 0.4150000000,
    "a1": 0.6022861769,
    "z2": 0.9210287796,
    "a2": 0.7152516803,
    "E": 0.1082295630,
    "dE/dw1": 0.0010213959,
    "dE/db1": 0.0102139588,
    "dE/dw2": 0.0570703982,
    "dE/db2": 0.0947562810,
    "new w1": 0.1495914416,
    "new b1": 0.3959144165,
    "new w2": 0.4271718407,
    "new b2": 0.6120974876,
    "new a2": 0.7045281613,
    "new E": 0.1032979247,
}


def two_neurons() -> float:
    """Take one step by hand and hold it against the expected numbers; return how far off jax.grad is."""
    params = {"w1": jnp.array([[W1]]), "b1": jnp.array([B1]), "w2": jnp.array([[W2]]), "b2": jnp.array([B2])}

    values, gradient = forward_and_backward(**params)
    new_params = {name: p - LEARNING_RATE * gradient[name] for name, p in params.items()}
    new_values, _ = forward_and_backward(**new_params)

    title("2. Two neurons in a chain, one step")
    must_be_expected(
        values
        | {f"dE/d{name}": d for name, d in gradient.items()}
        | {f"new {name}": p for name, p in new_params.items()}
        | {f"new {name}": new_values[name] for name in ("a2", "E")}
    )
    spoilt = gradient["w1"] / params["w2"] * new_params["w2"]
    print(f"\nwith the new w2, dE/dw1 would have come out as {digits(spoilt)}")
    passed = gradient["b1"] / gradient["b2"]
    print(f"on its way past one neuron the gradient shrank to  {digits(passed)} = w2 a1 (1 - a1)")

    # And now without any of this: the formula itself, in plain arithmetic, of which JAX finds the derivative.
    def error(p):
        sigmoid = lambda z: 1 / (1 + jnp.exp(-z))
        return (TARGET - sigmoid(p["w2"] * sigmoid(p["w1"] * X + p["b1"]) + p["b2"])) ** 2 / 2

    automatic = jax.grad(error)(jax.tree.map(jnp.squeeze, params))
    apart = relative_difference(jax.tree.map(jnp.squeeze, gradient), automatic)
    print(f"by hand and by jax.grad, apart by at most          {apart:.1e} of each")
    return apart


# ## 3. The same as layers
#
# Five lines forward and five lines back are soon written, but nobody wants to write five hundred of
# them. So let us look for the pattern. Each line forward takes x and gives the next x. Each line
# back takes dy and gives the next dy, and on the way it leaves the derivatives of its own
# parameters. That is a loop over layers and a loop in reverse.
#
# A *layer* is an op together with the names of its parameters: `nn.Dense(1)` is `linear` with a `w`
# and a `b`. `nn.serial` puts layers in a row, and its `bwd`, which is printed below, is the loop in
# reverse. It is the chain rule for any number of layers of any kind. (It may stop early, where a
# layer has integers for input: these cannot change a little.)
#
# Layers take a batch of examples at once, along a leading axis, and the error of a batch is the
# mean. Ours is a batch of one. `init` draws parameters at random, and we put our own in their
# place.


def chain_of_two(activation: nn.Op):
    """Return the two neurons as layers, their parameters, their state, which is empty, and the batch of one."""
    model = nn.serial(nn.Dense(1), activation, nn.Dense(1), activation)
    batch = nn.Data(x=jnp.array([[X]]), y=jnp.array([[TARGET]]))
    params, state = model.init(jax.random.key(0), batch.x)
    first = {"w": jnp.array([[W1]]), "b": jnp.array([B1])}
    second = {"w": jnp.array([[W2]]), "b": jnp.array([B2])}
    return model, {**params, "dense_0": first, "dense_1": second}, state, batch


# `nn.by_hand` makes the gradient of a model and an error in just this way: `fwd` of the model,
# `fwd` of the error, `bwd` of the error, `bwd` of the model. With `strict` it refuses whatever has
# no backward written by hand, so that no differentiation by JAX can happen in it. `nn.by_autodiff`
# makes the same by `jax.grad`. They take the same arguments and return the same results, so either
# may stand where the other does. (The second argument holds parameters that are to stay as they
# are, and we have none.)


def as_layers() -> float:
    """Print the chain rule as the library has it, and both gradients; return how far they are apart."""
    model, params, state, batch = chain_of_two(nn.sigmoid)
    error, _, hand = nn.by_hand(model, half_squared_error, strict=True)(params, {}, state, batch)
    with nn.plain():  # the last section says why
        _, _, automatic = nn.by_autodiff(model, half_squared_error)(params, {}, state, batch)
    hand, automatic = nn.tree.named_leaves(hand), nn.tree.named_leaves(automatic)

    title("3. The same as layers")
    print(f"{model}, and the chain rule for it:\n")
    print(indent(dedent(getsource(type(model).bwd)), "    "))
    print(f"E = {digits(error)}\n")
    print("gradient    by hand        by autodiff")
    for name, d in hand.items():
        print(f"{name}   {digits(d)}   {digits(automatic[name])}")
    return relative_difference(hand, automatic)


# ## 4. Training by hand
#
# One step took E from 0.108 to 0.103. The rest is patience: find the gradient, step against it, and
# again. As a2 comes near the target, dE/da2 = -(T - a2) becomes small and the steps become small
# with it. So no step arrives, but each takes about the same fraction off E, and in the end every
# hundred of them divide it by about fifty.
#
# (`nn.fit` is this loop, with batches and in one compiled program, and `nn.trainer(...,
# gradient=nn.by_hand)` has it go by the gradient by hand.)


def train(activation: nn.Op, steps: int) -> list[tuple[float, float]]:
    """Return a2 and E before the first step and after each, going by the gradient by hand."""
    model, params, state, batch = chain_of_two(activation)
    gradient = jax.jit(nn.by_hand(model, half_squared_error))
    history = []
    for _ in range(steps + 1):
        error, (_, prediction), grads = gradient(params, {}, state, batch)
        params = jax.tree.map(lambda p, d: p - LEARNING_RATE * d, params, grads)
        history.append((prediction.item(), error.item()))
    return history


def print_training(history: list[tuple[float, float]]) -> None:
    """Print a few rows of a history."""
    last = len(history) - 1
    print("  step        a2            E")
    for step in sorted({0, 1, 10, *range(0, last, 100), last} & set(range(last + 1))):
        a2, error = history[step]
        print(f"{step:6}   {a2:.6f}   {error:10.3e}")


def training(steps: int) -> None:
    """Train the two neurons and print how it went."""
    title(f"4. Training by hand, {steps} steps towards T = {TARGET}")
    print_training(train(nn.sigmoid, steps))


# ## 5. A backward that is wrong
#
# Suppose that we had slipped. Here is a sigmoid with the right forward and a backward that forgets
# the factor (1 - y). And suppose that we are proud of it: `install` makes it the derivative that
# `jax.grad` uses too.


@nn.Op
def forgetful_sigmoid(x: jax.Array) -> jax.Array:
    """Logistic function, with a wrong derivative."""
    return nn.sigmoid.plain(x)


def forgetful_sigmoid_bwd(y, dy):
    """dx = dy y, which should have been dy y (1 - y)."""
    return (dy * y,)


forgetful_sigmoid.defvjp(nn.sigmoid.fwd, forgetful_sigmoid_bwd, install=True)


# Would we notice? Not by training. The factor that is missing is positive, so every derivative
# still has the right sign, every small step goes downhill, and E falls as nicely as before. A
# falling error is no proof of a gradient.
#
# Not by every check, either. We might hold `nn.by_hand` against `nn.by_autodiff`: they agree to the
# last digit, for both of them use the backward that we wrote. A check like this cannot fail, and so
# it says nothing when it passes.
#
# The remedy is a second opinion that has not seen our backward. Within `nn.plain()` every op is its
# forward formula alone, and JAX derives the derivative from that. `nn.compare` does so, and it goes
# on to ask someone who knows no calculus at all: it nudges the parameters a little, as we did with
# one neuron, and looks at how E moves. Then it prints for each parameter how far apart the answers
# are.


def agree_with_themselves(activation: nn.Op) -> None:
    """Print how far the gradients are apart, with and without the backward that `jax.grad` was given."""
    model, params, state, batch = chain_of_two(activation)
    by_hand, by_autodiff = nn.by_hand(model, half_squared_error), nn.by_autodiff(model, half_squared_error)
    _, _, hand = by_hand(params, {}, state, batch)
    _, _, automatic = by_autodiff(params, {}, state, batch)
    with nn.plain():
        _, _, plain = by_autodiff(params, {}, state, batch)
    print(f"by hand and by jax.grad with our backward       apart by {relative_difference(hand, automatic):.1e}")
    print(f"by hand and by jax.grad of the plain function   apart by {relative_difference(hand, plain):.1e}")


def comparison(activation: nn.Op):
    """Compare the gradients of the two neurons by hand, by autodiff and by nudging."""
    model, params, _, batch = chain_of_two(activation)
    trainer = nn.trainer(model, half_squared_error, nn.sgd(LEARNING_RATE))
    train_state = trainer.init(jax.random.key(0), batch.x)._replace(params=params)
    return nn.compare(model, half_squared_error, train_state, batch)


def broken(steps: int) -> None:
    """Show that a wrong backward trains, that a check can be blind to it, and that `compare` is not."""
    title("5. A backward that is wrong")
    print("forgetful_sigmoid returns dy y for dy y (1 - y). It trains:\n")
    print_training(train(forgetful_sigmoid, steps))
    print("\nIt agrees with itself, which is no wonder, and with nothing else:\n")
    agree_with_themselves(forgetful_sigmoid)

    right, wrong = comparison(nn.sigmoid), comparison(forgetful_sigmoid)
    print(f"\nnn.compare of the network with sigmoid, agrees = {right.agrees}:\n")
    print(indent(str(right), "    "))
    print(f"\nnn.compare of the network with forgetful_sigmoid, agrees = {wrong.agrees}:\n")
    print(indent(str(wrong), "    "))
    if not right.agrees or wrong.agrees:
        raise AssertionError(
            "expected compare to pass the right backward and to fail the wrong one, because that is what it is for; "
            f"got agrees = {right.agrees} and {wrong.agrees}"
        )


# That is why a check must be able to fail, and why you should once have seen it fail. Whenever you
# write a backward, break it on purpose and run the check again. If it still passes, mend the check
# first.
#
# What is left is how the numbers above are printed and held against each other, and that all of it
# happens in 64-bit numbers. Those have sixteen digits, so that rounding shows in the sixteenth
# digit of a gradient and a mistake in the first; in 32-bit numbers, which are JAX's default and
# good enough to train, they are harder to tell apart.


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n\n{text}\n{'=' * len(text)}\n")


def digits(a: jax.Array) -> str:
    """Return a number as the expected ones are written."""
    return f"{a.item():.10f}"


def must_be_expected(found: dict[str, jax.Array]) -> None:
    """Print what was found beside what was expected.

    Raises:
        AssertionError: They differ by more than the rounding to ten decimals; the message says which.
    """
    print("                 found       expected")
    wrong = []
    for name, expected in EXPECTED.items():
        same = abs(found[name].item() - expected) <= 1e-10
        print(f"{name:<8}  {digits(found[name])}   {expected:.10f}{'' if same else '   DIFFERS'}")
        if not same:
            wrong.append(f"{name} = {expected:.10f} (got {digits(found[name])})")
    if wrong:
        raise AssertionError(f"expected {', '.join(wrong)}")


def relative_difference(a, b) -> float:
    """Return the largest of |a - b| / |b| over all leaves."""
    apart = jax.tree.map(lambda a, b: abs(a - b).max() / abs(b).max(), a, b)
    return jnp.stack(jax.tree.leaves(apart)).max().item()  # NaN if one is, which Python's max might pass over


def main(steps: int = 500) -> float:
    """Tell the story and return the largest relative difference between gradients by hand and by jax.grad."""
    with jax.enable_x64(True):
        one_neuron()
        apart = jnp.array([two_neurons(), as_layers()]).max().item()
        training(steps)
        broken(steps)
    title("Result")
    print(f"largest relative difference between gradients by hand and by jax.grad: {apart:.1e}")
    return apart


if __name__ == "__main__":
    main()
