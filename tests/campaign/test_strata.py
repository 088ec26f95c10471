"""Trials are a pure function of the campaign and their number, and each stratum gets its share."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence import experiment
from evidence.campaign.strata import LENGTH_STEP_FRAMES, OFF, Campaign, Sampler, parameter_set, space
from faults import attack_files
from sandbox import walls
from world.insulin import InsulinWorld

#: Those that a campaign draws by itself.
ATTACKS = {name: one for name, one in attack_files.built().items() if one.partitions and one.tamper is None}


def sampler(
    ids: tuple[str, ...], trials: int, seed: int = 7, wall_sets: tuple[str, ...] = ("all",)
) -> Sampler:
    targets = {name: ATTACKS[name].partitions for name in ids}
    phases = dict(InsulinWorld.PHASES)
    return Sampler(Campaign("designs/insulin_pump", seed, trials, ids, targets, phases, wall_sets), ATTACKS)


WHOLE = sampler(tuple(ATTACKS), 2_995)


@given(st.integers(0, 2_994))
def test_a_trial_is_the_same_each_time_fits_its_stratum_and_reads_back_from_its_line(number: int) -> None:
    one = WHOLE.trial(number)
    assert one == sampler(tuple(ATTACKS), 2_995).trial(number)
    assert experiment.read(one.experiment.line) == one.experiment
    (injection,) = one.experiment.injections
    first, last = InsulinWorld.PHASES[one.stratum.phase]
    assert first <= injection.frame <= last
    assert injection.attack_id == one.stratum.attack_id
    assert injection.partition in ATTACKS[injection.attack_id].partitions
    assert one.experiment.frames > injection.frame + ATTACKS[injection.attack_id].shows_within_frames
    assert one.experiment.frames % LENGTH_STEP_FRAMES == 0


def test_each_family_and_each_phase_gets_its_share_and_seeds_differ() -> None:
    strata = [WHOLE.trial(number).stratum for number in range(2_995)]
    families = Counter(one.attack_id for one in strata)
    assert max(families.values()) - min(families.values()) <= 1
    assert set(families) == set(ATTACKS)
    met = Counter((one.attack_id, one.phase) for one in strata)
    assert len(met) == len(ATTACKS) * len(InsulinWorld.PHASES)
    other = sampler(tuple(ATTACKS), 2_995, seed=8)
    assert sum(WHOLE.trial(n).experiment == other.trial(n).experiment for n in range(300)) == 0


@pytest.mark.parametrize("attack_id", ["C06", "C12", "C16", "C21"])
def test_where_the_parameter_sets_are_few_every_one_has_its_turn(attack_id: str) -> None:
    attack = ATTACKS[attack_id]
    size = space(attack)
    few = sampler((attack_id,), size)
    assert few.enumerates(attack_id)
    tried = {str(few.trial(n).experiment.injections[0].parameters) for n in range(size)}
    assert tried == {str(parameter_set(attack, place)) for place in range(size)}
    assert len(tried) == size
    assert not sampler((attack_id,), size - 1).enumerates(attack_id)


@pytest.mark.parametrize("attack_id", ["C06", "C12", "C16", "C21"])
def test_every_parameter_set_meets_every_phase_also_where_both_go_round_in_step(attack_id: str) -> None:
    """Six sets and four phases meet in twelve pairs only, unless the phases move on."""
    pairs = space(ATTACKS[attack_id]) * len(InsulinWorld.PHASES)
    many = sampler((attack_id,), pairs)
    trials = [many.trial(number) for number in range(pairs)]
    met = {(str(one.experiment.injections[0].parameters), one.stratum.phase) for one in trials}
    assert len(met) == pairs


def test_families_of_one_turn_begin_in_phases_that_follow_one_another() -> None:
    """So that a campaign that is stopped early has not tried all its families in one phase."""
    phases = list(InsulinWorld.PHASES)
    first = [WHOLE.trial(number).stratum.phase for number in range(len(ATTACKS))]
    assert first == [phases[number % len(phases)] for number in range(len(ATTACKS))]


def test_one_wall_is_left_out_in_turn_and_without_all_none_stands() -> None:
    many = sampler(("C06",), 3 * len(walls.WALLS), wall_sets=("all", "one-out", "none"))
    trials = [many.trial(number) for number in range(many.campaign.trials)]
    left_out = [one.experiment.without for one in trials if one.stratum.walls.startswith("without ")]
    assert {name for some in left_out for name in some} == walls.ALL
    assert all(len(some) == 1 for some in left_out)
    assert {one.experiment.without for one in trials if one.stratum.walls == "none"} == {walls.ALL}
    assert {one.experiment.without for one in trials if one.stratum.walls == "all"} == {frozenset()}


def test_attacks_on_a_device_that_is_off_have_each_variant_once_and_no_phase() -> None:
    """Seen: a campaign over them repeated one experiment in every phase."""
    names = ("B01", "B09")
    one = Campaign(
        "designs/insulin_pump", 1, 20, names, dict.fromkeys(names, ("transfer",)), {"any": (14, 60)}
    )
    drawn = Sampler(one, attack_files.built())
    assert drawn.trials_max == 20
    trials = [drawn.trial(number) for number in range(20)]
    assert {trial.stratum.phase for trial in trials} == {OFF}
    assert len({trial.experiment.line for trial in trials}) == 20
    assert len({trial.experiment.line for trial in trials if trial.stratum.attack_id == "B01"}) == 10


def test_without_them_a_campaign_may_have_as_many_trials_as_one_likes() -> None:
    names = ("C05",)
    one = Campaign("d", 1, 5, names, dict.fromkeys(names, ("transfer",)), {"any": (14, 60)})
    assert Sampler(one, attack_files.built()).trials_max is None
