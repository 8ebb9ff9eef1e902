from tests.bench import __main__ as program
from tests.bench.cases import BARE, CELERY, LAUNCHES, LOCAL, STOCK, STOCK_DEFERRABLE, Case, Plan, cases, rounds


def test_each_round_has_every_case_once_and_stock_only_the_small_ones():
    found = list(rounds(LAUNCHES, [200, 1, 20], 3))
    for number in (1, 2, 3):
        mine = [case for one, case in found if one == number]
        assert sorted(mine, key=str) == sorted(cases(LAUNCHES, [1, 20, 200]), key=str)
        assert {case.launch for case in mine if case.n == 200} == {BARE, LOCAL, CELERY}
        assert {case.launch for case in mine if case.n == 20} == set(LAUNCHES)


def test_every_other_round_goes_backwards_within_a_size():
    ways = [BARE, STOCK, STOCK_DEFERRABLE]
    first, second = ([case for one, case in rounds(ways, [1, 20], 2) if one == number] for number in (1, 2))
    assert first == [Case(way, n) for n in (1, 20) for way in ways]
    assert second == [Case(way, n) for n in (1, 20) for way in reversed(ways)]


def test_bare_pods_are_launched_beside_each_release():
    every = program._releases(LAUNCHES)
    assert every == {LOCAL: [BARE, STOCK, STOCK_DEFERRABLE, LOCAL], CELERY: [BARE, CELERY]}
    assert program._releases([BARE, STOCK]) == {LOCAL: [BARE, STOCK]}
    assert program._releases([BARE]) == {LOCAL: [BARE]}


def test_what_is_launched_needs_its_dag_once():
    assert program._dags(Plan(launches=(BARE, LOCAL, CELERY), sizes=(1, 5), waiting=9)) == [
        ("platform", 1),
        ("platform", 5),
        ("waiting", 9),
    ]
    # The platform's is for the task that is not counted.
    assert program._dags(Plan(launches=(STOCK,), sizes=(1, 200), waiting=0)) == [("stock", 1), ("platform", 1)]
