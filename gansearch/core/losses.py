"""The losses of the adversarial game, on logits.

With a = logit of D, log D = logsigmoid(a) and log(1 - D) = logsigmoid(-a): both stay finite for every
finite logit, where log(sigmoid(a)) underflows to -inf at a = -104 in float32.

Notation: `real` = logits of D on data x, `fake` = logits of D on G(z). The mean over the minibatch is the
last axis; leading axes are trials trained side by side.
Source: Goodfellow et al. 2014, equation 1, Algorithm 1 and section 3.
"""

from __future__ import annotations

import functools

import torch
from torch.nn.functional import logsigmoid

from gansearch.core.shapes import Float, Tensor


def discriminator_loss(real: Float[Tensor, "*trials m"], fake: Float[Tensor, "*trials m"]) -> Float[Tensor, "*trials"]:
    """Return -mean[log D(x) + log(1 - D(G(z)))], in nats: what D descends (Algorithm 1, line 6)."""
    return -(logsigmoid(real) + logsigmoid(-fake)).mean(-1)


NON_SATURATING, SATURATING = 1.0, -1.0
"""What G descends, as the sign s of -s mean log sigmoid(s a): -mean log D(G(z)), which section 3 recommends and the
published code uses, or mean log(1 - D(G(z))) as in Algorithm 1, line 9."""
OBJECTIVES = {"non-saturating": NON_SATURATING, "saturating": SATURATING}
"""The signs by the names of the configuration."""


def generator_loss(
    fake: Float[Tensor, "*trials m"], objective: float | Float[Tensor, "..."]
) -> Float[Tensor, "*trials"]:
    """Return what G descends, in nats.

    Args:
        fake: logits of D on generated samples.
        objective: `NON_SATURATING` or `SATURATING`; a tensor has one a trial.
    """
    if isinstance(objective, Tensor):
        return -objective * logsigmoid(objective.unsqueeze(-1) * fake).mean(-1)
    return -objective * logsigmoid(objective * fake).mean(-1)


def discriminator_slope(logits: Float[Tensor, "*trials rows"]) -> Float[Tensor, "*trials rows"]:
    """Return m times the gradient of D's loss in the logits of m examples and then m samples.

    In the logit of an example it is -(1 - D), in that of a sample D.
    """
    sign = _signs(logits.shape[-1], logits.dtype, logits.device)
    return (logits * sign).sigmoid_().mul_(sign)  # 1 - sigmoid(a) would lose digits where sigmoid(-a) has them


@functools.lru_cache
def _signs(rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return -1 for each example and 1 for each sample."""
    ones = torch.ones(rows // 2, dtype=dtype, device=device)
    return torch.cat([-ones, ones])


def generator_slope(
    fake: Float[Tensor, "*trials m"], objective: float | Float[Tensor, "*trials"]
) -> Float[Tensor, "*trials m"]:
    """Return m times the gradient of G's loss in the logits of m samples: -D where it is saturating, else -(1 - D)."""
    sign = objective.unsqueeze(-1) if isinstance(objective, Tensor) else objective
    return (fake * -sign).sigmoid_().neg_()
