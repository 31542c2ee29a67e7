"""The comparison's numbers against SciPy and against `finalists`, and the sentences that they support."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from analysis.compared import Against, Compared, letter
from analysis.comparing import as_plain, compare
from analysis.comparing_text import FORMS, render
from analysis.detectable import detectable, power
from analysis.funnel import funnel
from gansearch import parts, schema
from gansearch.config import TrialConfig
from gansearch.paths import RunPaths, TrialKey
from tests.analysis.funnel_runs import PAPER, QUICK, SLOW, WIDE, completed, four_finalists, lost, write_funnel
from tests.analysis.rows import FULL, PUBLISHED, trial_row

Rows = list[dict[str, Any]]
# The same numbers by two routes in double precision.
SAME = 1e-9
# A bootstrap's matrix product over other rows beside changes the last bits of its means.
LAST_BITS = 1e-9


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of four finalists. Not to be written into."""
    return write_funnel(tmp_path_factory.mktemp("comparing") / "run", four_finalists())


@pytest.fixture(scope="module")
def found(run: Path) -> Compared:
    return compare([f"{run}:paper", f"{run}:leader", f"{run}:#2"])


def _seeds(trial: TrialConfig, first: int, valids: Sequence[float], **values: object) -> Rows:
    return [row for i, v in enumerate(valids) for row in completed(trial, first + i, v, v - 2.0, **values)]


def _compare(folder: Path, *groups: Rows, rules: Sequence[str] = (), **how: Any) -> Compared:
    """Return the comparison of the groups' configurations in their order, shown in every form."""
    rows = [trial_row(SLOW, 1, score=50.0), *(row for rows in groups for row in rows)]
    place = write_funnel(folder / "run", rows)
    named = rules or list(dict.fromkeys(row["config_id"] for row in rows[1:]))
    compared = compare([f"{place}:{rule}" for rule in named], **how)
    for form in FORMS:
        assert render(compared, form)
    json.dumps(as_plain(compared), allow_nan=False)
    return compared


def _told(found: Compared, text: str) -> bool:
    return any(text in note for note in found.notes)


def _said(against: Against) -> str:
    return "\n".join(against.sentences)


PAPER_VALID, QUICK_VALID, SLOW_VALID = (100.5, 103.0), (117.5, 119.75, 121.0), (114.0, 119.25, 118.5)
PAPER_TEST, QUICK_TEST, SLOW_TEST = (201.5, 203.25), (70.5, 74.0, 77.25), (91.0, 84.5, 88.0)


def test_over_seeds_it_is_welchs_test_with_holms_correction(found: Compared) -> None:
    assert [one.letter for one in found.against] == ["B", "C"]
    for split, reference, others in (
        ("valid", PAPER_VALID, (QUICK_VALID, SLOW_VALID)),
        ("test", PAPER_TEST, (QUICK_TEST, SLOW_TEST)),
    ):
        tests: list[Any] = [scipy.stats.ttest_ind(other, reference, equal_var=False) for other in others]
        corrected = multipletests([test.pvalue for test in tests], method="holm")[1]
        for against, test, p in zip(found.against, tests, corrected, strict=True):
            contrast = getattr(against, split)
            assert contrast.seeds.p == pytest.approx(test.pvalue, rel=SAME)
            assert contrast.seeds.df == pytest.approx(test.df, rel=SAME)
            ends = test.confidence_interval(0.95)
            assert (contrast.seeds.interval.low, contrast.seeds.interval.high) == pytest.approx(tuple(ends), rel=SAME)
            assert contrast.p_holm == pytest.approx(p, rel=SAME)
            assert contrast.family == 2


def test_both_ways_of_comparing_give_what_finalists_gives(run: Path, found: Compared) -> None:
    """Its family against the study's base is the same two; the bootstrap draws by the same names."""
    finalists = {f.config_id: f for f in funnel(run).finalists}
    for item, against in zip(found.items[1:], found.against, strict=True):
        expected = finalists[item.config_id].to_paper
        assert expected is not None
        for mine, theirs in ((against.valid, expected.valid), (against.test, expected.test)):
            assert mine is not None
            assert theirs is not None
            assert (mine.seeds, mine.p_holm) == (theirs.seeds, theirs.p_holm)
            assert mine.both is not None
            assert theirs.bootstrap is not None
            assert mine.both.se == pytest.approx(theirs.bootstrap.se, rel=LAST_BITS)
            assert mine.both.p == pytest.approx(theirs.bootstrap.p, rel=1e-6)


def test_bad_seeds_are_compared_by_fishers_test(found: Compared) -> None:
    """The paper's lost one seed of three, B none, C's collapsed once."""
    shares = [(0, 3), (1, 3)]
    p_values = [scipy.stats.fisher_exact([[bad, n - bad], [1, 2]])[1] for bad, n in shares]
    assert [one.bad_p for one in found.against] == pytest.approx(p_values)
    assert [one.bad_p_holm for one in found.against] == pytest.approx(multipletests(p_values, method="holm")[1])
    assert "Seeds that collapsed, diverged or failed: 0 of 3 in B [0.00, 0.71], 1 of 3 in A [0.01, 0.91]; so many" in (
        _said(found.against[0])
    )
    assert "Seeds that" not in _said(found.against[1])


def test_the_items_are_told_apart_by_what_differs(found: Compared) -> None:
    assert [item.config_id for item in found.items] == [c.config_id for c in (PAPER, QUICK, SLOW)]
    assert [item.rank for item in found.items] == [3, 1, 2]
    assert [item.is_paper for item in found.items] == [True, False, False]
    assert [dict(item.values) for item in found.items] == [
        {"algorithm.k": 1, "momentum.lr_g": 0.1},
        {"algorithm.k": 2, "momentum.lr_g": 0.0312},
        {"algorithm.k": 1, "momentum.lr_g": 0.7},
    ]
    assert found.protocol_id == FULL.id


def test_a_difference_that_the_seeds_show(found: Compared) -> None:
    first = found.against[0].sentences[0]
    assert first.startswith(
        "B scores higher than A on validation by 17.7 nats (95% interval 11.5 to 23.9 over 3 and 2 seeds; p = 0.005, "
        "p = 0.010 by Holm's correction for 2 comparisons): more than the spread between seeds explains. Over seeds "
        "and images the interval is "
    )
    assert (
        found.against[0]
        .sentences[1]
        .startswith("B scores lower than A on test by 128.5 nats (95% interval 121.2 to 135.8")
    )
    assert "Validation and test tell B and A apart in opposite directions" in found.against[0].sentences[2]
    assert found.against[0].sentences[-1] == (
        "The mean of A is over the 2 of 3 seeds that have a score (1 diverged), which may flatter it"
    )


def test_the_same_difference_the_other_way_round(run: Path, found: Compared) -> None:
    turned = compare([f"{run}:leader", f"{run}:paper"]).against[0]
    assert turned.valid.seeds.mean == -found.against[0].valid.seeds.mean
    assert turned.valid.p_holm == found.against[0].valid.seeds.p
    assert turned.sentences[0].startswith(
        "B scores lower than A on validation by 17.7 nats (95% interval 11.5 to 23.9 over 2 and 3 seeds; p = 0.005): "
        "more than"
    )


def test_seeds_that_do_not_tell_apart_say_what_they_could_find(run: Path) -> None:
    one = compare([f"{run}:leader", f"{run}:#2"]).against[0]
    assert one.valid.outcome == "not apart"
    assert one.sentences[0].startswith(
        "On validation the seeds do not tell B and A apart: B less A is -2.2 nats (95% interval -8.0 to 3.6 over 3 and "
        "3 seeds; p = 0.336). That is no evidence that they are equal: every difference within the interval is in line "
        "with these scores. If their spread is as seen, 3 and 3 seeds find a true difference of about "
    )
    assert one.valid.detectable is not None
    assert one.valid.seeds_for_half is not None


def test_what_could_be_found_is_that_of_the_strictest_step(tmp_path: Path) -> None:
    """The level is .05 over the two comparisons that have a p-value."""
    groups = [_seeds(t, s, (v - 2.0, v, v + 2.0)) for t, s, v in ((PAPER, 10, 5.0), (QUICK, 20, 6.0), (SLOW, 30, 5.5))]
    found = _compare(tmp_path, *groups, _seeds(WIDE, 40, (7.0,)))
    assert [one.valid.family for one in found.against] == [2, 2, 2]
    smallest = detectable((2.0, 2.0), (3, 3), 0.025)
    for one in found.against[:2]:
        assert one.valid.detectable == pytest.approx(smallest, rel=1e-9)
        n = one.valid.seeds_for_half
        assert n is not None
        assert (
            power(smallest / 2, (2.0, 2.0), (n - 1, n - 1), 0.025)
            < 0.8
            <= power(smallest / 2, (2.0, 2.0), (n, n), 0.025)
        )
        assert f"to find one of {smallest / 2:.1f} nats takes about {n} seeds each" in one.sentences[0]
    assert found.against[2].valid.detectable is None


def test_a_difference_that_the_correction_takes_away(tmp_path: Path) -> None:
    groups = [
        _seeds(t, s, [v - 1.0, v, v + 1.0])
        for t, s, v in ((PAPER, 10, 5.0), (QUICK, 20, 7.6), (SLOW, 30, 5.2), (WIDE, 40, 5.1))
    ]
    one = _compare(tmp_path, *groups).against[0]
    p, corrected = one.valid.seeds.p, one.valid.p_holm
    assert p is not None
    assert corrected is not None
    assert p < 0.05 < corrected == pytest.approx(3 * p)
    assert one.valid.outcome == "not apart"
    assert one.sentences[0].startswith(
        "On validation the seeds would tell B and A apart if this were the only comparison, but it is one of 3: B less "
        "A is 2.6 nats (95% interval 0.3 to 4.9 over 3 and 3 seeds; "
    )
    assert "It is not shown that they differ, nor that they are equal. If their spread" in one.sentences[0]
    assert "in line with these scores" not in one.sentences[0]  # 0 is not within its interval


def test_images_may_leave_open_what_seeds_show(tmp_path: Path) -> None:
    """Images move a mean by some 2 nats here, so 3 nats between seeds that hardly differ hold for these images only."""
    groups = [_seeds(t, s, (v - 0.1, v, v + 0.1)) for t, s, v in ((PAPER, 10, 5.0), (QUICK, 20, 8.0))]
    one = _compare(tmp_path, *groups).against[0]
    assert one.valid.outcome == "apart"
    assert one.valid.both_p_holm is not None
    assert one.valid.both_p_holm > 0.05
    assert one.sentences[0].endswith("for other images drawn like these it is not shown")


def test_one_seed_has_a_difference_and_nothing_else(tmp_path: Path) -> None:
    found = _compare(tmp_path, _seeds(PAPER, 10, (9.0, 9.5, 9.2)), _seeds(QUICK, 20, (1.0,)))
    one = found.against[0]
    assert (one.valid.outcome, one.valid.seeds.interval, one.valid.p_holm) == ("one seed", None, None)
    assert one.sentences[0] == (
        "B less A on validation is -8.23 nats, but B has one scored seed: one seed has no spread, so nothing tells how "
        "far another would lie from it"
    )
    assert _told(found, "one completed seed has no spread, so no interval and no p-value: B")
    both = _compare(tmp_path / "both", _seeds(PAPER, 10, (9.0,)), _seeds(QUICK, 20, (1.0,)))
    assert "but A and B have one scored seed" in both.against[0].sentences[0]


def test_seeds_of_one_score_show_nothing(tmp_path: Path) -> None:
    groups = [_seeds(t, s, (v,) * 3, valid_ll_mean=v) for t, s, v in ((PAPER, 10, 9.0), (QUICK, 20, 1.0))]
    found = _compare(tmp_path, *groups)
    assert found.against[0].valid.outcome == "no spread"
    assert "nothing is known of the noise" in found.against[0].sentences[0]
    assert sum("have one and the same score" in note for note in found.notes) == 2


def test_two_seeds_are_told_to_say_little(tmp_path: Path) -> None:
    found = _compare(tmp_path, _seeds(PAPER, 10, (9.0, 9.5)), _seeds(QUICK, 20, (1.0, 2.0, 2.5)))
    assert _told(found, "two completed seeds: A; the interval of their mean is 12.7 standard errors")


def test_shares_of_bad_seeds_that_differ_are_told_apart(tmp_path: Path) -> None:
    good = _seeds(PAPER, 10, [9.0 + i / 7 for i in range(6)])
    bad = [row for i in range(6) for row in completed(QUICK, 20 + i, -140.0 - i / 3, -150.0, collapsed=True)]
    found = _compare(tmp_path, good, bad)
    assert found.against[0].bad_p == pytest.approx(2 / math.comb(12, 6))
    assert found.against[0].sentences[-1] == (
        "Seeds that collapsed, diverged or failed: 6 of 6 in B [0.54, 1.00], 0 of 6 in A [0.00, 0.46]; more than "
        "chance explains (Fisher's exact test, p = 0.002)"
    )
    assert _told(found, "completed seeds that collapsed count in means and intervals (B 6)")


def test_what_was_chosen_by_its_score_is_told(run: Path, found: Compared) -> None:
    """The study's base was named beforehand; the leader, by whatever name, was not."""
    assert _told(found, "compared here: B (the leader, the highest of 3 means), C (number 2 of 3); intervals")
    by_id = compare([f"{run}:paper", f"{run}:{QUICK.config_id}"])
    assert _told(by_id, "compared here: B (the leader, the highest of 3 means); intervals")
    beforehand = compare([f"{run}:paper", f"{run}:{SLOW.config_id}"])
    assert not _told(beforehand, "chosen by the validation scores")
    best_of = compare([f"{run}:leader", f"{run}:algorithm.k=1"])
    assert _told(best_of, "B (the best of the 2 that have its values)")


def test_under_another_protocol_it_is_told_what_chose(run: Path) -> None:
    found = compare([f"{run}:paper", f"{run}:leader"], protocol="published-2014")
    assert found.protocol_id == PUBLISHED.id
    assert found.against[0].valid.seeds.mean == pytest.approx(17.666666666666)  # 3.5 nats less each
    assert _told(found, f"B was chosen under {FULL.id}, the protocol that ranks in its run")
    assert not _told(found, f"A was chosen under {FULL.id}")


def test_seeds_that_have_not_ended_are_told(tmp_path: Path) -> None:
    rows = [*_seeds(PAPER, 10, (9.0, 9.5, 9.2)), *_seeds(QUICK, 20, (1.0, 2.0)), *lost(QUICK, 22, schema.RUNNING)]
    found = _compare(tmp_path, rows)
    assert _told(found, "B: 1 of 3 planned seeds have not ended")
    assert not _told(found, "A: ")
    assert not found.items[1].over_survivors
    short = _compare(tmp_path / "short", _seeds(PAPER, 10, (9.0, 9.5, 9.2)), _seeds(QUICK, 20, (1.0, 2.0)))
    assert _told(short, "B: 1 of 3 planned seeds have not ended")


def test_runs_are_compared_with_runs(tmp_path: Path) -> None:
    """The same configuration of two runs, trained apart: each draws its own seeds again in the bootstrap."""
    places = []
    for name, first, values in (("one", 10, (1.0, 2.0, 4.0)), ("two", 20, (1.5, 2.5, 3.0))):
        rows = _seeds(PAPER, first, values, run_torch_version=f"2.{first}.0")
        places.append(write_funnel(tmp_path / name, [trial_row(PAPER, 1, score=1.0), *rows]))
    found = compare([str(place) for place in places])
    assert [item.config_id for item in found.items] == [PAPER.config_id] * 2
    assert [dict(item.values) for item in found.items] == [{}, {}]
    one = found.against[0].valid
    assert one.both is not None
    assert one.both.se is not None
    assert one.seeds.se is not None
    assert one.both.se > 0.8 * one.seeds.se  # it would be too small were both to draw the same seeds
    assert _told(found, "not the same for all items, beside their configurations: torch")
    assert not _told(found, "chosen by the validation scores")


def test_common_seeds_are_told_and_paired(tmp_path: Path) -> None:
    a, b = (9.0, 19.5, 30.2), (10.1, 20.4, 31.4)
    found = _compare(tmp_path, _seeds(PAPER, 10, a), _seeds(QUICK, 10, b))
    expected: Any = scipy.stats.ttest_rel(b, a)
    low, high = expected.confidence_interval(0.95)
    assert _told(
        found,
        "A and B were trained from the same 3 seeds: their trials are pairs, which Welch's t takes for independent; "
        f"paired by seed, B less A on validation is 1.07 nats, 95% interval [{low:.2f}, {high:.2f}], "
        f"p {expected.pvalue:.3f} (not corrected)",
    )
    some = _compare(tmp_path / "some", _seeds(PAPER, 10, a), _seeds(QUICK, 12, b))
    assert _told(some, "A and B have 1 seed in common")


def test_copies_within_a_configuration_are_told(tmp_path: Path) -> None:
    rows = [*_seeds(PAPER, 10, (9.0, 9.5, 9.2)), *_seeds(QUICK, 20, (1.0, 2.0), weights_digest="same")]
    assert _told(_compare(tmp_path, rows), "B: seeds share the same weights")


def test_without_test_scores_there_is_no_word_of_test(tmp_path: Path) -> None:
    rows = [*_seeds(PAPER, 10, (9.0, 9.5, 9.2)), *_seeds(QUICK, 20, (1.0, 2.0), test_ll_mean=None)]
    found = _compare(tmp_path, rows)
    assert (found.items[1].test, found.against[0].test) == (None, None)
    assert not any("on test" in sentence for sentence in found.against[0].sentences)
    assert _told(found, "B: 0 of 2 completed seeds have a test score")


def test_rows_of_an_older_version_lack_columns(tmp_path: Path) -> None:
    """Read as nulls: what cannot be known is told, and nothing fails."""
    older = dict.fromkeys(("collapsed", "data_valid_digest", "data_train_digest", "run_torch_version"))
    rows = [
        *_seeds(PAPER, 10, (9.0, 9.5, 9.2), **older),
        *_seeds(QUICK, 20, (1.0, 2.0), data_valid_digest=None, sigma_at_edge=True),
    ]
    found = _compare(tmp_path, rows)
    assert _told(found, "whether seeds collapsed was not recorded: A")
    assert _told(found, "which validation images were scored was not recorded, so may not be the same: A, B")
    assert _told(found, "B: sigma is an end point of the protocol's grid for 2 of 2")
    assert found.against[0].valid.p_holm is not None


def test_without_scores_image_by_image_there_is_no_bootstrap(tmp_path: Path) -> None:
    rows = [trial_row(SLOW, 1, score=1.0), *_seeds(PAPER, 10, (9.0, 9.5)), *_seeds(QUICK, 20, (1.0, 2.0))]
    place = write_funnel(tmp_path / "run", rows)
    part = RunPaths(place).part("examples", TrialKey(QUICK.config_id, 20, "confirm"))
    kept = [row for row in parts.read_part(part, schema.EXAMPLES) if row["split"] == "test"]
    parts.write_part(part, schema.EXAMPLES, kept)
    found = compare([f"{place}:paper", f"{place}:{QUICK.config_id}"])
    assert found.against[0].valid.both is None
    assert found.against[0].test is not None
    assert found.against[0].test.both is not None
    assert _told(found, "scores image by image on validation are missing, or do not average to a seed's score")
    for path in RunPaths(place).table("examples").iterdir():
        path.unlink()
    RunPaths(place).table("examples").rmdir()
    found = compare([f"{place}:paper", f"{place}:{QUICK.config_id}"])
    assert _told(found, "no table of scores image by image, so no bootstrap over seeds and images: A, B")


def test_items_have_letters() -> None:
    assert [letter(i) for i in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [*"ABZ", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]


def test_json_holds_what_follows_from_the_numbers(found: Compared) -> None:
    plain = json.loads(json.dumps(as_plain(found)))
    assert [one["outcome"] for one in (against["valid"] for against in plain["against"])] == ["apart", "apart"]
    for values, item in zip(plain["items"], found.items, strict=True):
        assert values["valid"]["mean"] == item.valid.mean
        assert values["counts"]["bad_share"] == item.counts.bad_share
    assert plain["items"][0]["over_survivors"] is True
    assert plain["against"][0]["sentences"] == list(found.against[0].sentences)
