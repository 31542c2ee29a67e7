"""The losses of the adversarial game, on logits.

With a = logit of D, log D = logsigmoid(a) and log(1 - D) = logsigmoid(-a): both stay finite for every
finite logit, where log(sigmoid(a)) underflows to -inf at a = -104 in float32.

Notation: `real` = logits of D on data x, `fake` = logits of D on G(z). The mean over the minibatch is the
last axis; leading axes are trials trained side by side.
Source: Goodfellow et al. 2014, equation 1, Algorithm 1 and section 3.
"""

from __future__ import annotations

from torch.nn.functional import logsigmoid

from gansearch.core.shapes import Float, Tensor


def discriminator_loss(real: Float[Tensor, "*trials m"], fake: Float[Tensor, "*trials m"]) -> Float[Tensor, "*trials"]:
    """Return -mean[log D(x) + log(1 - D(G(z)))], in nats: what D descends (Algorithm 1, line 6)."""
    return -(logsigmoid(real) + logsigmoid(-fake)).mean(-1)


def generator_loss(fake: Float[Tensor, "*trials m"], objective: str) -> Float[Tensor, "*trials"]:
    """Return what G descends, in nats.

    Args:
        fake: logits of D on generated samples.
        objective: `saturating`, mean log(1 - D(G(z))) as in Algorithm 1, line 9; or `non-saturating`,
            -mean log D(G(z)), which section 3 recommends and the published code uses.
    """
    return logsigmoid(-fake).mean(-1) if objective == "saturating" else -logsigmoid(fake).mean(-1)
