import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

NAME = "backprop_by_hand"

# Two neurons in a chain, worked out apart from the library with forty digits.
CHAIN = {
    "z1": "0.4150000000",
    "a1": "0.6022861769",
    "z2": "0.9210287796",
    "a2": "0.7152516803",
    "E": "0.1082295630",
    "dE/dw1": "0.0010213959",
    "dE/db1": "0.0102139588",
    "dE/dw2": "0.0570703982",
    "dE/db2": "0.0947562810",
    "new w1": "0.1495914416",
    "new b1": "0.3959144165",
    "new w2": "0.4271718407",
    "new b2": "0.6120974876",
    "new a2": "0.7045281613",
    "new E": "0.1032979247",
}


@pytest.fixture
def module(example):
    return example(NAME)


def test_gradients_by_hand_are_those_of_jax(told):
    assert told(NAME).metric < 1e-12


@pytest.mark.parametrize("name", CHAIN)
def test_prints_the_worked_example(told, name):
    rows = [line for line in told(NAME).output.splitlines() if line.startswith(f"{name} ")]
    assert f"{name:<8}  {CHAIN[name]}   {CHAIN[name]}" in rows


def test_the_docstring_states_what_is_printed(module):
    for name in ("a2", "E", "dE/dw1", "dE/db1", "dE/dw2", "dE/db2", "new E"):
        assert CHAIN[name] in module.__doc__


def test_prints_the_chain_rule_as_the_library_has_it(told):
    assert "for name, layer in reversed(self.layers):" in told(NAME).output


def test_a_wrong_number_is_reported(module, monkeypatch, x64, capsys):
    monkeypatch.setitem(module.EXPECTED, "dE/dw1", 0.0010213961)
    with pytest.raises(AssertionError, match=r"^expected dE/dw1 = 0\.0010213961 \(got 0\.0010213959\)$"):
        module.two_neurons()
    assert "0.0010213961   DIFFERS" in capsys.readouterr().out


def test_a_wrong_backward_is_reported(module, monkeypatch, x64):
    monkeypatch.setattr(nn.sigmoid, "_bwd", module.forgetful_sigmoid_bwd)
    with pytest.raises(AssertionError, match="expected dE/dw1 = "):
        module.two_neurons()
    assert module.as_layers() > 1


def test_compare_reports_the_broken_backward_and_no_other(told, module):
    good, bad = told(NAME).output.split("nn.compare of ")[1:]
    assert good.startswith("the network with sigmoid, agrees = True")
    assert "the two roads agree" in good
    assert "DISAGREE" not in good
    assert bad.startswith("the network with forgetful_sigmoid, agrees = False")
    assert bad.count("DISAGREES\n") == 4
    assert "THE TWO ROADS DISAGREE" in bad

    assert module.comparison(nn.sigmoid).agrees
    assert not module.comparison(module.forgetful_sigmoid).agrees


def test_training_reaches_the_target_even_with_the_broken_backward(module, x64):
    for activation in (nn.sigmoid, module.forgetful_sigmoid):
        history = module.train(activation, 500)
        errors = np.array([error for _, error in history])
        assert (np.diff(errors) < 0).all()
        assert errors[-1] < 1e-10
        assert abs(history[-1][0] - module.TARGET) < 1e-4


def test_a_nan_is_not_passed_over(module):
    a = {"w": jnp.array([1.0]), "b": jnp.array([jnp.nan])}
    assert np.isnan(module.relative_difference(a, {"w": jnp.array([1.0]), "b": jnp.array([1.0])}))


def test_half_squared_error_has_the_right_backward(module, x64):
    prediction, target = jnp.array([[2.0, -1.0], [0.5, 3.0]]), jnp.array([[0.0, 1.0], [0.5, -1.0]])
    d = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    out, residuals = module.half_squared_error.fwd(prediction, target)
    plain, backward = jax.vjp(module.half_squared_error.plain, prediction, target)
    np.testing.assert_array_equal(out, plain)
    np.testing.assert_array_equal(out, [[2.0, 2.0], [0.0, 8.0]])
    for hand, automatic in zip(module.half_squared_error.bwd(residuals, d), backward(d), strict=True):
        np.testing.assert_allclose(hand, automatic, rtol=1e-15)
