"""Randomness as a function of (seed, purpose, step)."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from gansearch.seeds import Draws, digest, stream, trial_seed

seeds = st.integers(0, 2**48 - 1)
purposes = st.text(min_size=1, max_size=20)
steps = st.integers(0, 2**32 - 1)

LOW = 0xFFFFFFFF
# Sample correlations of n independent draws have the standard deviation 1 / sqrt(n); none of a few dozen is 5 off.
N, STANDARD_DEVIATIONS = 10_000, 5


def draws(seed: int) -> Draws:
    return Draws(seed, torch.device("cpu"))


@given(seeds, purposes, steps, steps)
def test_steps_of_a_purpose_never_share_a_stream(seed: int, purpose: str, a: int, b: int) -> None:
    """The CPU's generator reads the low 32 bits only: they alone must tell steps apart."""
    low = [stream(seed, purpose, step) & LOW for step in (a, b)]
    assert (low[0] == low[1]) == (a == b)
    # Steps that differ in one bit, the case that chance finds last.
    assert len({stream(seed, purpose, a ^ (1 << bit)) & LOW for bit in range(32)}) == 32
    assert all(stream(seed, purpose, a ^ (1 << bit)) & LOW != low[0] for bit in range(32))


@given(seeds, purposes, steps)
def test_stream_fits_a_signed_64_bit_integer(seed: int, purpose: str, step: int) -> None:
    assert 0 <= stream(seed, purpose, step) < 2**63


@given(st.tuples(seeds, purposes), st.tuples(seeds, purposes), steps)
def test_seeds_and_purposes_have_their_own_streams(a: tuple[int, str], b: tuple[int, str], step: int) -> None:
    """The high half is 31 bits of a hash: a chance coincidence is one in 2^31 even before the low half."""
    assert (stream(*a, step) == stream(*b, step)) == (a == b)


def test_stream_is_pinned() -> None:
    """Stored trials reproduce only while this function stays as it is; change it knowingly.

    By hand: BLAKE2b-96 of `7/noise` gives the high half, an offset and a mask; the low half of step 0 is
    MurmurHash3's finalizer of the offset, exclusive-or the mask.
    """
    import hashlib

    high, offset, mask = (
        int.from_bytes(hashlib.blake2b(b"7/noise", digest_size=12).digest()[i : i + 4], "little") for i in (0, 4, 8)
    )
    h = offset
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
    assert stream(7, "noise", 0) == ((high % 2**31) << 32) + ((h ^ (h >> 16)) ^ mask)


def test_draws_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    source = draws(3)
    source.uniform("a", 0, (3, 2), -1, 1)
    source.normal("b", 1, (17,))
    source.permutation("c", 2, 11)
    source.bits_(torch.empty(13, dtype=torch.int64), "d", 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0)  # nor do they read it
    assert torch.equal(draws(3).normal("b", 1, (17,)), source.normal("b", 1, (17,)))


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    calls = [("init", 0), ("noise", 5), ("noise", 6), ("init", 1)]
    first, second = draws(9), draws(9)
    forward = {call: first.normal(*call, (19,)) for call in calls}
    backward = {call: second.normal(*call, (19,)) for call in reversed(calls)}
    assert all(torch.equal(forward[call], backward[call]) for call in calls)
    # A shorter draw is not required to be a longer one's beginning, but the same call is the same draw.
    assert torch.equal(first.uniform("init", 0, (4, 3), 0, 1), second.uniform("init", 0, (4, 3), 0, 1))


def test_draws_have_their_distributions() -> None:
    source = draws(1)
    uniform = source.uniform("u", 0, (N,), -2, 3)
    assert -2 <= uniform.min() < -1.99
    assert 2.99 < uniform.max() <= 3
    assert abs(uniform.mean() - 0.5) < STANDARD_DEVIATIONS * 5 / 12**0.5 / N**0.5
    normal = source.normal("n", 0, (N,))
    assert abs(normal.mean()) < STANDARD_DEVIATIONS / N**0.5
    assert abs(normal.var() - 1) < STANDARD_DEVIATIONS * (2 / N) ** 0.5
    assert sorted(source.permutation("p", 0, 29).tolist()) == list(range(29))


def test_every_bit_is_a_fair_coin() -> None:
    words = torch.empty(N, dtype=torch.int64)
    draws(1).bits_(words, "d", 2)
    again = torch.empty(N, dtype=torch.int64)
    draws(1).bits_(again, "d", 2)
    assert torch.equal(words, again)
    draws(1).bits_(again, "d", 3)
    assert not torch.equal(words, again)
    bits = torch.stack([words >> i & 1 for i in range(64)]).double()  # the sign is one of them
    assert ((bits.mean(1) - 0.5).abs() < STANDARD_DEVIATIONS * 0.5 / N**0.5).all()
    # None of 2,016 pairs of bits is correlated.
    off_diagonal = torch.corrcoef(bits).fill_diagonal_(0)
    assert off_diagonal.abs().max() < STANDARD_DEVIATIONS / N**0.5
    assert len(words.unique()) == N


@pytest.mark.parametrize("n", [1, 7, 16, 23, 64])
def test_fewer_bits_are_the_beginning_of_more(n: int) -> None:
    """The last block of an epoch is shorter: its steps' masks are those that a whole block would give them."""
    few, many = torch.empty(n, dtype=torch.int64), torch.empty(101, dtype=torch.int64)
    draws(1).bits_(few, "d", 2)
    draws(1).bits_(many, "d", 2)
    assert torch.equal(few, many[:n])


@pytest.mark.parametrize(
    ("a", "b"),
    [((1, "noise", 4), (1, "noise", 5)), ((1, "noise", 4), (2, "noise", 4)), ((1, "noise", 4), (1, "order", 4))],
    ids=["step", "seed", "purpose"],
)
def test_neighbouring_draws_are_uncorrelated(a: tuple[int, str, int], b: tuple[int, str, int]) -> None:
    x, y = (draws(seed).normal(purpose, step, (N,)) for seed, purpose, step in (a, b))
    for shift in range(10):
        r = torch.corrcoef(torch.stack([x, y.roll(shift)]))[0, 1]
        assert abs(r) < STANDARD_DEVIATIONS / N**0.5


@given(st.integers(), st.sampled_from(["search", "confirm"]), st.text(max_size=12), st.integers(0, 10**6))
def test_trial_seeds_are_48_bits(sweep: int, stage: str, config_id: str, replicate: int) -> None:
    seed = trial_seed(sweep, stage, config_id, replicate)
    assert 0 <= seed < 2**48
    assert seed == trial_seed(sweep, stage, config_id, replicate)


def test_trial_seeds_differ_with_every_argument() -> None:
    """4,000 of 2^48 values coincide by chance once in 35 million such tables."""
    configs = [digest([i]) for i in range(10)]
    table = {
        trial_seed(sweep, stage, config, replicate)
        for sweep in range(10)
        for stage in ("search", "confirm")
        for config in configs
        for replicate in range(20)
    }
    assert len(table) == 10 * 2 * 10 * 20


def test_digest_is_of_the_content() -> None:
    assert digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest({}, size=5)) == 10
    with pytest.raises(ValueError, match="JSON"):
        digest([float("nan")])
