import pytest
from tests.bench import figures
from tests.bench.cases import BARE, CELERY, LOCAL, STOCK
from tests.bench.cgroups import PASSING
from tests.bench.measure import Measured
from tests.bench.waiting import Waiting


def measured(launch, n, total, number=1, **more):
    given = {
        "release": LOCAL,
        "wall_s": total + 0.5,
        "launch_s": [1.0] * n,
        "end_s": [2.0] * n,
        "cpu_s": {"airflow/scheduler": 1.0 * n, "kube-system/etcd": 0.5 * n, PASSING: 0.25 * n},
        "pods": n,
        "workers": 0,
        "strangers": 0,
        "failed": 0,
    }
    return Measured(launch=launch, n=n, round=number, total_s=total, **(given | more))


BARE_CPU = {"airflow/scheduler": 0.0, "kube-system/etcd": 2.0, PASSING: 5.0}


def test_a_case_is_the_median_of_its_rounds_and_percentiles_of_all_its_tasks():
    rounds = [
        measured(LOCAL, 2, 9.0, 1, launch_s=[1.0, 2.0], failed=1),
        measured(LOCAL, 2, 5.0, 2, launch_s=[3.0, 4.0]),
        measured(LOCAL, 2, 6.0, 3, launch_s=[5.0]),
    ]
    (found,) = figures.results(rounds)
    assert (found["launch"], found["n"], found["rounds"], found["failed"]) == (LOCAL, 2, 3, 1)
    assert found["total_s"] == {"min": 5.0, "median": 6.0, "max": 9.0}
    assert found["launch_overhead_s"] == {"p50": 3.0, "p95": 4.8}
    assert found["without_container_times"] == 1
    assert found["pods_per_task"] == 1.0
    assert found["cpu_s_per_task_beyond_bare"] is None


def test_workers_are_what_the_tasks_own_pods_do_not_account_for():
    stock = measured(STOCK, 20, 100.0, cpu_s={"airflow/scheduler": 20.0, PASSING: 105.0}, pods=40, workers=20)
    _, found = figures.results([stock, measured(BARE, 20, 10.0, cpu_s=BARE_CPU)])
    groups = found["cpu_s_per_task_by_group"]
    assert groups["tasks' own pods"] == 0.25
    assert groups["workers"] == 5.0
    assert found["cpu_s_per_task"] == 6.0
    assert found["pods_per_task"] == 2.0
    assert found["cluster_cpu_s_per_task"] == 6.25
    assert found["cpu_s_per_task_beyond_bare"] == pytest.approx(6.25 - 0.35)


def test_groups_add_up_to_the_cluster():
    cpu = {
        "airflow/scheduler": 1.0,
        "local/postgres": 2.0,
        "kube-system/etcd": 4.0,
        "kube-system/kube-router": 8.0,
        "node/kubelet": 16.0,
        PASSING: 32.0,
    }
    (found,) = figures.results([measured(LOCAL, 1, 1.0, cpu_s=cpu)])
    assert found["cpu_s_per_task_by_group"] == {
        "platform": 1.0,
        "stand-ins": 2.0,
        "control plane": 4.0,
        "kubelet and containerd": 16.0,
        "other pods of the cluster": 8.0,
        "workers": 0.0,
        "tasks' own pods": 32.0,
    }
    assert sum(found["cpu_s_per_task_by_group"].values()) == found["cluster_cpu_s_per_task"]


def test_the_order_is_by_size_then_by_launch():
    found = figures.results(
        [measured(LOCAL, 20, 1), measured(BARE, 20, 1), measured(LOCAL, 1, 1), measured(STOCK, 1, 1)]
    )
    assert [(one["n"], one["launch"]) for one in found] == [(1, STOCK), (1, LOCAL), (20, BARE), (20, LOCAL)]


def test_what_is_wanted_is_judged_with_each_launcher():
    totals = {(BARE, 1): 3.0, (LOCAL, 1): 7.0, (BARE, 20): 10.0, (LOCAL, 20): 13.0, (STOCK, 20): 104.0}
    measurements = [measured(launch, n, total) for (launch, n), total in totals.items()]
    measurements += [measured(BARE, 200, 100.0, cpu_s=BARE_CPU), measured(LOCAL, 200, 110.0)]
    waiting = [Waiting(LOCAL, 200, 0.4, 0.0, 100.0, 300.0)]
    found = figures.wanted(figures.results(measurements), waiting)
    local = {one["figure"]: (one["measured"], one["verdict"]) for one in found if one["launch"] == LOCAL}
    assert local == {
        "20 tasks, against bare pods": (1.3, "must"),
        "20 tasks, times faster than stock": (8.0, "aim"),
        "200 tasks, against bare pods": (1.1, "aim"),
        "200 tasks, failed": (0, "aim"),
        "1 task, over a bare pod": (4.0, "missed"),
        "200 tasks, CPU a task beyond that of bare pods": (1.715, "missed"),
        "200 waiting tasks, triggerer's memory a task": (0.4, "must"),
    }
    assert {one["verdict"] for one in found if one["launch"] == "celery"} == {"not measured"}


def test_what_is_launched_is_compared_with_the_bare_pods_of_its_own_rounds():
    """The machine may have been slower by then."""
    slow = [
        measured(CELERY, 20, 39.0, release=CELERY),
        measured(BARE, 20, 30.0, release=CELERY, cpu_s={PASSING: 20.0}),
    ]
    results = figures.results([measured(LOCAL, 20, 13.0), measured(BARE, 20, 10.0), *slow])
    against_bare = [one for one in figures.wanted(results, []) if one["figure"] == figures.TOTAL_20.name]
    assert [(one["launch"], one["measured"]) for one in against_bare] == [(LOCAL, 1.3), (CELERY, 1.3)]
    beyond = {one["launch"]: one["cpu_s_per_task_beyond_bare"] for one in results}
    assert (beyond[LOCAL], beyond[CELERY]) == (0.0, 0.75)


@pytest.mark.parametrize(("share", "value"), [(0, 1.0), (50, 2.5), (95, 3.85), (100, 4.0)])
def test_percentile(share, value):
    assert figures.percentile([1.0, 2.0, 3.0, 4.0], share) == pytest.approx(value)


def test_percentile_of_nothing():
    assert figures.percentile([], 50) is None
