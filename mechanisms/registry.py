"""Mechanisms by name, for plans and the command line; Python functions take objects."""

from __future__ import annotations

MECHANISMS: dict[str, str] = {
    "ridge_langevin": "ridge regression by noisy gradient descent, unlearning noise calibrated per record",
    "ridge_minibatch": "ridge regression by noisy steps on minibatches of a public schedule, with exact certificates",
    "exact_downdate": "ridge regression with an exact low-rank downdate: no noise, epsilon = 0",
    "logistic_langevin": "logistic or softmax regression by noisy gradient descent, noise calibrated per record",
    "newton_removal": "logistic regression with objective perturbation; one Newton step, or training anew",
    "network_langevin": "a small network by noisy clipped gradient descent, certified by learning noise; needs torch",
}
