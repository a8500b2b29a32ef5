from common.seeds import seed_for


def test_a_seed_is_the_same_on_every_machine_and_version() -> None:
    # The first 32 bits of SHA-256('[7, "partition", "cleveland"]').
    assert seed_for(7, "partition", "cleveland") == 0x559652C5


def test_names_and_numbers_that_differ_give_other_seeds() -> None:
    seeds = [seed_for(1), seed_for(2), seed_for(1, "a"), seed_for(1, "a", "b"), seed_for(1, "ab"), seed_for(1, "a", 1)]
    assert len({*seeds, seed_for(1, "a", "1")}) == 7


def test_a_seed_fits_scikit_learn() -> None:
    assert all(0 <= seed_for(0, place) < 2**32 for place in range(100))
