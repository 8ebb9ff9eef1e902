"""``airflow-platform compare``, against Airflow's REST API and S3 on loopback, and what it takes for the same."""

import gzip
import json
import sys
import threading
from decimal import Decimal

import duckdb
import pytest
from rest_api import Airflow, Moment, Run, instance
from s3_server import S3

from airflow_platform import cli, client
from airflow_platform.compare import content, findings, storage, table, values
from airflow_platform.compare.table import UnreadableError
from airflow_platform.compare.values import Difference
from airflow_platform.run import follow

TIMES = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-01T00:01:01Z"}


# Values.


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "is_same"),
    [
        (1, 1.0, 0, True),
        (1.0, 1.0 + 1e-12, 1e-9, True),
        (1.0, 1.1, 1e-9, False),
        (1.0, 1.1, 0.2, True),
        (0.0, 1e-12, 1e-9, True),
        (float("nan"), float("nan"), 0, True),
        (float("nan"), 1.0, 0.5, False),
        # Whole numbers are exact, however close: they may be ids.
        (10**12, 10**12 + 1, 0.5, False),
        (Decimal(10**12), Decimal(10**12 + 1), 0.5, False),
        (Decimal(10**12), 10**12, 0, True),
        (Decimal("10.00"), Decimal("11.00"), 0.2, True),
        (10**400, 1.0, 0.5, False),
        (True, 1, 0, False),
        (None, None, 0, True),
        ("1", 1, 0, False),
        ([1, {"a": 2}], [1, {"a": 2.0}], 0, True),
        ([1, 2], [2, 1], 0, False),
    ],
)
def test_when_values_are_the_same(left, right, tolerance, is_same):
    assert values.same(left, right, tolerance) is is_same


def test_differences_say_where_they_are():
    left = {"a": {"b": [1, 2, 3]}, "gone": 1, "same": "x"}
    right = {"a": {"b": [1, 5]}, "new": None, "same": "x"}
    assert list(values.differences(left, right, 0)) == [
        Difference("a.b[1]", "2", "5"),
        Difference("a.b[2]", "3", ""),
        Difference("gone", "1", ""),
        Difference("new", "", "null"),
    ]


def test_a_long_value_is_shortened():
    (found,) = values.differences("x" * 1000, "y", 0)
    assert len(found.left) == 200
    assert found.left.endswith("…")


# Files.


@pytest.fixture
def parquet(tmp_path):
    """Writes a Parquet file of what a query says; its path."""

    def parquet(name, query):
        path = tmp_path / name
        duckdb.sql(query).write_parquet(str(path))
        return path

    return parquet


@pytest.fixture
def compare(tmp_path):
    """Compares two files of the same kind, given as their contents or as paths."""

    def compare(name, left, right, tolerance=1e-9, limit=1 << 20, **more):
        paths = []
        for side, given in (("left", left), ("right", right)):
            path = given
            if isinstance(given, (str, bytes)):
                path = tmp_path / f"{side}-{name}"
                path.write_bytes(given.encode() if isinstance(given, str) else given)
            paths.append(path)
        return content.compare(name, *paths, tolerance=tolerance, limit=limit, **more)

    return compare


PEOPLE = "SELECT * FROM (VALUES ('ann', 0.5::DOUBLE, 1), ('bob', 0.25, 2), ('cyd', NULL, 3)) people(name, score, n)"


def test_parquet_that_was_written_otherwise_is_the_same(compare, parquet, tmp_path):
    left = parquet("left.parquet", PEOPLE)
    right = tmp_path / "right.parquet"
    duckdb.sql(f"{PEOPLE} ORDER BY name DESC").write_parquet(str(right), compression="gzip")
    assert left.read_bytes() != right.read_bytes()
    found = compare("x.parquet", left, right)
    assert (found.count, found.how) == (0, "3 rows, 3 columns")


def test_parquet_says_which_row_and_column_is_different(compare, parquet):
    left = parquet("left.parquet", PEOPLE)
    changed = "SELECT name, CASE name WHEN 'bob' THEN 0.75 ELSE score END AS score, n FROM"
    right = parquet("right.parquet", f"{changed} ({PEOPLE}) WHERE name != 'ann'")
    found = compare("x.parquet", left, right)
    assert found.differences == (
        Difference("number of rows", "3", "2"),
        Difference('name "ann"', '{"name": "ann", "score": 0.5, "n": 1}', ""),
        Difference('name "bob", score', "0.25", "0.75"),
    )


def test_parquet_with_times_lists_and_decimals(compare, parquet):
    query = (
        "SELECT TIMESTAMPTZ '2026-01-05 10:00:00+00' AS at, DATE '2026-01-05' AS day, [1, 2] AS items, "
        "{{'a': 1}} AS inner, 1.25::DECIMAL(10, 2) AS price, 'x'::BLOB AS raw, {}::DOUBLE AS number"
    )
    left, right = parquet("left.parquet", query.format("1.0")), parquet("right.parquet", query.format("2.0"))
    assert compare("x.parquet", left, left).count == 0
    assert compare("x.parquet", left, right).differences == (Difference("row 1, number", "1.0", "2.0"),)


def test_parquet_whose_columns_are_others(compare, parquet):
    left = parquet("left.parquet", "SELECT 1::INTEGER AS a, 2 AS b")
    right = parquet("right.parquet", "SELECT 1::BIGINT AS a, 3 AS c")
    assert compare("x.parquet", left, right).differences == (
        Difference("column a", "INTEGER", "BIGINT"),
        Difference("column b", "INTEGER", ""),
        Difference("column c", "", "INTEGER"),
    )


def test_of_a_large_table_the_first_rows_are_compared_and_it_says_so(compare, parquet, monkeypatch):
    monkeypatch.setattr(table, "CELLS", 20)
    left = parquet("left.parquet", "SELECT i, i AS j FROM range(100) t(i)")
    right = parquet("right.parquet", "SELECT i, if(i = 3, -1, i) AS j FROM range(100) t(i)")
    found = compare("x.parquet", left, right)
    assert (found.how, found.is_whole) == ("the first 10 of 100 rows, 2 columns", False)
    assert found.differences == (Difference("i 3, j", "3", "-1"),)


def test_of_a_large_table_in_another_order_only_rows_that_were_read_of_both_are_compared(compare, monkeypatch):
    monkeypatch.setattr(table, "CELLS", 6)
    left = "id,v\n1,1\n2,2\n3,3\n4,4\n"
    found = compare("x.csv", left, "id,v\n4,4\n2,2\n3,9\n1,1\n")
    assert found.differences == (Difference("id 3, v", "3", "9"),)
    found = compare("x.csv", "v\n1\n1\n2\n2\n3\n3\n4\n4\n", "v\n4\n4\n3\n3\n2\n2\n1\n1\n")
    assert (found.count, found.is_whole) == (0, False)
    assert found.how == "no cell of the first 6 of 8 rows, as no column tells them apart, 1 column"
    found = compare("x.csv", "v\n" + "1\n" * 8, "v\n" + "1\n" * 9)
    assert [one.where for one in found.differences] == ["number of rows"]


def test_what_only_looks_like_a_power_of_ten_is_a_name(compare):
    found = compare("x.csv", "hash\n4123e567\n0e12\n1e3\n", "hash\n5123e999\n0e99\n1000\n")
    assert found.differences == (
        Difference("row 1, hash", '"4123e567"', '"5123e999"'),
        Difference("row 2, hash", '"0e12"', '"0e99"'),
    )


def test_csv_is_compared_by_its_numbers(compare):
    left, right = "id,v,code\n1,1.0,007\n2,2.5,8\n", "id,v,code\r\n2,2.50,8\r\n1,1.0000000000001,007\r\n"
    assert compare("x.csv", left, right).count == 0
    found = compare("x.csv", left, right.replace("007", "7"))
    assert found.differences == (Difference("id 1, code", '"007"', "7"),)


def test_rows_without_a_key_are_compared_in_their_order_or_sorted(compare):
    left = "kind,v\na,1.5\na,2.5\nb,3.5\n"
    assert compare("x.csv", left, "kind,v\nb,3.5\na,2.5\na,1.5\n").count == 0
    assert compare("x.csv", left, "kind,v\na,1.5\na,9.5\nb,3.5\n").differences == (
        Difference("row 2, v", "2.5", "9.5"),
    )


def test_tabs_and_compression_are_known_by_the_name(compare):
    left, right = (gzip.compress(b"id\tv\n1\t2\n", mtime=time) for time in (1, 2))
    assert compare("x.tsv.gz", left, right).count == 0


def test_json_and_its_lines(compare):
    assert compare("x.json", '{"a": 1, "b": [1]}', '{"b":[1.0],"a":1}').count == 0
    assert compare("x.jsonl", '{"a": 1}\n{"a": 2}\n', '{"a": 1}\n\n{"a": 3}').differences == (
        Difference("[1].a", "2", "3"),
    )


@pytest.mark.parametrize("sign", ["\u2028", "\x85"])
def test_a_line_of_json_ends_where_json_says_so(compare, sign):
    line = json.dumps({"a": f"1{sign}2"}, ensure_ascii=False)
    assert compare("x.jsonl", f"{line}\n{line}\n", f"{line}\r\n{line}\r\n").how == "2 lines of JSON"


def test_many_differences_are_counted_and_a_few_kept(compare):
    left, right = (json.dumps(list(range(start, start + 500))) for start in (0, 1))
    found = compare("x.json", left, right)
    assert (len(found.differences), found.count) == (content.KEPT, 500)


def test_what_does_not_count_is_left_out(compare):
    found = compare("x.json", '{"a": 1, "at": 1}', '{"a": 1, "at": 2}', counts=lambda one: one.where != "at")
    assert found.count == 0


def test_of_another_file_nothing_is_known_but_its_bytes(compare):
    assert compare("x.joblib", b"1", b"2") is None


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("x.parquet", b"PAR1 but not really", "it is no Parquet"),
        ("x.json", b"{", "it is no JSON"),
        ("x.csv", b"a,b\n1\n", "line 2 has 1 cells, the first line 2"),
        ("x.csv", b"a,a\n1,2\n", "two columns are named 'a'"),
        ("x.csv", b"\xff\xfe", "it is no UTF-8"),
        ("x.csv.gz", b"a,b\n", "it cannot be unpacked"),
        ("x.csv.gz", gzip.compress(b"a" * 3_000_000), "it holds more than 1 MiB, compressed"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(compare, name, body, said):
    with pytest.raises(UnreadableError, match=said):
        compare(name, body, body)


# The command.


@pytest.fixture
def airflow(monkeypatch):
    for name in (client.URL, client.USER, client.PASSWORD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(client.TOKEN, "secret")
    monkeypatch.setattr(follow, "_EVERY", 0.01)
    with Airflow() as airflow:
        threading.Thread(target=airflow.serve_forever, args=(0.01,), daemon=True).start()
        yield airflow
        airflow.shutdown()


@pytest.fixture
def s3(monkeypatch):
    with S3() as s3:
        threading.Thread(target=s3.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield s3
        s3.shutdown()


@pytest.fixture
def compare_runs(airflow, s3, tmp_path, capsys):
    """Runs the command: exit code, stdout, stderr, the report as JSON."""

    def compare_runs(*words):
        told, page = tmp_path / "comparison.json", tmp_path / "comparison.html"
        for path in (told, page):
            path.unlink(missing_ok=True)
        code = cli.main(["compare", *words, "--url", airflow.url, "--json", str(told), "--report", str(page)])
        assert told.exists() == page.exists()
        return code, *capsys.readouterr(), json.loads(told.read_text()) if told.exists() else None

    return compare_runs


def ended(*instances, state="success", xcoms=None, **more):
    return Run([Moment(state, list(instances))], xcoms or {}, {**TIMES, **more})


def declares(task, *addresses, state="success", **more):
    annotations = {"airflow-platform/outputs": " ".join(addresses)}
    return instance(task, state, rendered_fields={"annotations": annotations, "image": "x:1"}, **more)


@pytest.fixture
def runs(airflow):
    """Two past runs, a and b, of the same DAG."""

    def runs(left, right):
        airflow.runs["d", "a"], airflow.runs["d", "b"] = left, right

    return runs


def different(report):
    return {(one["part"], one["where"]) for one in report["findings"] if one["verdict"] == "different"}


def test_runs_that_are_the_same(compare_runs, runs, s3):
    s3.put("s3://out/1/r.csv", "id,v\n1,2\n")
    s3.put("s3://out/2/r.csv", "id,v\n1,2.0\n")
    value = {"rows": 3, "file": "s3://out/1/r.csv"}
    runs(
        ended(instance("t", "success"), xcoms={("t", -1, "return_value"): value}),
        ended(instance("t", "success"), xcoms={("t", -1, "return_value"): value | {"file": "s3://out/2/r.csv"}}),
    )
    code, out, _, report = compare_runs("d", "--runs", "a", "b")
    assert code == 0
    assert out == "The same: 1 run, 1 output, 1 XCom, 1 task\n"
    (output,) = [one for one in report["findings"] if one["part"] == "output"]
    assert output["where"] == "t return_value.file: s3://out/1/r.csv → s3://out/2/r.csv"
    assert output["how"] == "1 row, 2 columns, 9 bytes"


def test_what_is_different_is_told_first(compare_runs, runs, s3):
    s3.put("s3://out/a/r.json", '{"accuracy": 0.91}')
    s3.put("s3://out/b/r.json", '{"accuracy": 0.84}')
    runs(
        ended(declares("t", "s3://out/a/r.json"), xcoms={("t", -1, "rows"): 3, ("t", -1, "ok"): True}),
        ended(declares("t", "s3://out/b/r.json"), xcoms={("t", -1, "rows"): 4, ("t", -1, "ok"): True}),
    )
    code, out, err, report = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert out.splitlines() == [
        "Not the same: 1 output, 1 XCom",
        "  t output 1: s3://out/a/r.json → s3://out/b/r.json: 1 difference (JSON, every value, 18 bytes)",
        "    accuracy: 0.91 → 0.84",
        "  t rows: 1 value is different (every value)",
        "    value: 3 → 4",
    ]
    assert [one["verdict"] for one in report["findings"]] == ["different"] * 2 + ["same"] * 3
    assert err.strip().endswith("comparison.html")


def test_a_tolerance_and_what_is_left_out(compare_runs, runs, s3):
    s3.put("s3://out/a/r.json", '{"accuracy": 0.91, "at": 1}')
    s3.put("s3://out/b/r.json", '{"accuracy": 0.92, "at": 2}')
    runs(ended(declares("t", "s3://out/a/r.json")), ended(declares("t", "s3://out/b/r.json")))
    assert compare_runs("d", "--runs", "a", "b", "--tolerance", "0.1")[0] == 1
    assert compare_runs("d", "--runs", "a", "b", "--tolerance", "0.1", "--ignore", "*r.json at")[0] == 0


def test_a_name_with_an_index_is_left_out_as_it_is_shown(compare_runs, runs, s3):
    for side in "ab":
        s3.put(f"s3://out/{side}/r.json", json.dumps([{"at": side}]))
    runs(ended(declares("t", "s3://out/a/r.json")), ended(declares("t", "s3://out/b/r.json")))
    assert '[0].at: "a" → "b"' in compare_runs("d", "--runs", "a", "b")[1]
    assert compare_runs("d", "--runs", "a", "b", "--ignore", "*r.json [0].at")[0] == 0
    assert compare_runs("d", "--runs", "a", "b", "--ignore", "*r.json [1].at")[0] == 1


def test_what_cannot_be_read_here_is_not_called_different(compare_runs, runs, s3, monkeypatch):
    for side in "ab":
        s3.put(f"s3://out/{side}/r.csv.gz", gzip.compress(b"n\n" + b"1\n" * (1 << 20), mtime=ord(side)))
        s3.put(f"s3://out/{side}/r.parquet", side)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for name, said in (("r.csv.gz", "it holds more than 1 MiB, compressed"), ("r.parquet", "duckdb")):
        runs(ended(declares("t", f"s3://out/a/{name}")), ended(declares("t", f"s3://out/b/{name}")))
        code, out, _, _ = compare_runs("d", "--runs", "a", "b", "--max-size", "1")
        assert (code, said in out) == (2, True)
        assert "the bytes are different; not by content" in out


def test_a_folder_is_compared_file_by_file(compare_runs, runs, s3):
    for side, names in (("a", "xy"), ("b", "yz")):
        for name in names:
            s3.put(f"s3://out/{side}/parts/{name}.bin", name)
    runs(ended(declares("t", "s3://out/a/parts/")), ended(declares("t", "s3://out/b/parts/")))
    code, _, _, report = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert different(report) == {("output", "t output 1 x.bin"), ("output", "t output 1 z.bin")}


def test_an_address_in_an_xcom_may_be_of_a_folder_or_of_no_output(compare_runs, runs, s3):
    s3.put("s3://in/r.csv", "read, not written", "2025-01-01T00:00:00Z")
    for side in "ab":
        s3.put(f"s3://out/{side}/x.bin", side)
    runs(
        *(
            ended(xcoms={("t", -1, "in"): "s3://in/r.csv", ("t", -1, "gone"): "s3://no/x", ("t", -1, "out"): to})
            for to in ("s3://out/a", "s3://out/b")
        )
    )
    code, _, _, report = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert [one["where"] for one in report["findings"] if one["part"] == "output"] == [
        "t out x.bin: s3://out/a/x.bin → s3://out/b/x.bin"
    ]


def test_an_address_in_an_xcom_that_cannot_be_read_is_left_out(compare_runs, runs, s3, monkeypatch):
    monkeypatch.setattr(storage, "_OBJECTS", 1)
    for name in ("large/1.bin", "large/2.bin", "r.bin"):
        s3.put(f"s3://out/{name}", name)
    texts = ("s3://out/large", "s3://out/large/", "s3://out", "s3://out/", "s3://", "s3://no bucket", "s3://no!/x")
    xcoms = {("t", -1, f"k{number}"): text for number, text in enumerate(texts)}
    runs(*(ended(declares("t", "s3://out/r.bin"), xcoms=xcoms) for _ in "ab"))
    assert compare_runs("d", "--runs", "a", "b")[:2] == (0, "The same: 1 run, 1 output, 7 XComs, 1 task\n")
    s3.refuse = 403
    runs(*(ended(xcoms={("t", -1, "k"): "s3://theirs/x"}) for _ in "ab"))
    assert compare_runs("d", "--runs", "a", "b")[:2] == (0, "The same: 1 run, 1 XCom\n")


def test_an_s3_that_does_not_answer_is_no_address_to_leave_out(compare_runs, runs, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    runs(*(ended(xcoms={("t", -1, "k"): "s3://out/x"}) for _ in "ab"))
    code, _, err, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "s3://out/x cannot be read: " in err


def test_states_and_who_failed_and_why(compare_runs, runs, airflow):
    airflow.why["t"] = "Task t failed. Its container ran out of memory."
    runs(
        ended(instance("t", "success"), instance("old", "success")),
        ended(instance("t", "failed"), instance("m", "success", map_index=1), state="failed"),
    )
    code, _, _, report = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert different(report) == {("run", "state"), ("task", "t"), ("task", "old"), ("task", "m[1]")}
    (failed,) = [one for one in report["findings"] if one["where"] == "t"]
    assert failed["summary"] == "Task t failed. Its container ran out of memory."


def test_times_are_shown_and_count_only_where_that_was_asked_for(compare_runs, runs):
    runs(ended(instance("t", "success", duration=2.0)), ended(instance("t", "success", duration=7.0)))
    assert compare_runs("d", "--runs", "a", "b")[0] == 0
    assert compare_runs("d", "--runs", "a", "b", "--slower", "4")[0] == 0
    code, out, _, _ = compare_runs("d", "--runs", "a", "b", "--slower", "3")
    assert code == 1
    assert "seconds: 2.0 → 7.0" in out


def test_what_a_run_did_not_write_is_not_taken_for_its_own(compare_runs, runs, s3):
    s3.put("s3://out/r.bin", "x", "2026-01-01T00:00:30Z")
    after = {"start_date": "2026-01-01T00:02:00Z", "end_date": "2026-01-01T00:03:00Z"}
    before = {"start_date": "2025-12-31T00:00:00Z", "end_date": "2025-12-31T00:01:00Z"}
    runs(ended(declares("t", "s3://out/r.bin")), ended(declares("t", "s3://out/r.bin"), **after))
    code, out, _, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert "b has none. what is there is older than the run" in out
    runs(ended(declares("t", "s3://out/r.bin"), **before), ended(declares("t", "s3://out/r.bin")))
    code, out, _, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "a: it was written again after the run had ended" in out


def test_a_file_that_is_too_large_is_not_guessed(compare_runs, runs, s3):
    large, other = b"x" * (2 << 20), b"y" * (2 << 20)
    s3.put("s3://out/a/r.bin", large)
    s3.put("s3://out/b/r.bin", other)
    runs(ended(declares("t", "s3://out/a/r.bin")), ended(declares("t", "s3://out/b/r.bin")))
    code, out, _, _ = compare_runs("d", "--runs", "a", "b", "--max-size", "1")
    assert code == 2
    assert "2 MiB are more than is fetched (1 MiB): give --max-size" in out
    s3.put("s3://out/b/r.bin", large)
    assert compare_runs("d", "--runs", "a", "b", "--max-size", "1")[0] == 0
    s3.put("s3://out/b/r.bin", large + b"x")
    assert compare_runs("d", "--runs", "a", "b", "--max-size", "1")[0] == 1


def test_a_table_of_which_only_a_part_is_compared_is_not_said_to_be_the_same(compare_runs, runs, s3, monkeypatch):
    monkeypatch.setattr(table, "CELLS", 4)
    s3.put("s3://out/a/r.csv", "id,v\n1,1\n2,2\n3,3\n")
    s3.put("s3://out/b/r.csv", "id,v\n1,1\n2,2\n3,4\n")
    runs(ended(declares("t", "s3://out/a/r.csv")), ended(declares("t", "s3://out/b/r.csv")))
    code, out, _, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "the same, as far as it was compared (the first 2 of 3 rows, 2 columns, 17 bytes)" in out


def test_a_task_that_was_skipped_declares_nothing(compare_runs, runs):
    skipped = declares("t", "s3://out/r.bin", state="skipped")
    runs(ended(skipped), ended(skipped))
    assert compare_runs("d", "--runs", "a", "b")[:2] == (0, "The same: 1 run, 1 task\n")


def test_an_xcom_that_is_null_is_there(compare_runs, runs):
    runs(ended(xcoms={("t", -1, "k"): None}), ended())
    code, out, _, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert "t k: only a has it, b has not" in out


def test_a_file_that_is_not_what_its_name_says_is_compared_by_its_bytes(compare_runs, runs, s3):
    s3.put("s3://out/a/r.json", "{")
    s3.put("s3://out/b/r.json", "[")
    runs(ended(declares("t", "s3://out/a/r.json")), ended(declares("t", "s3://out/b/r.json")))
    code, out, _, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 1
    assert "the bytes are different; not by content: it is no JSON" in out


def test_two_versions_run_on_the_same_and_each_is_read_before_the_next(compare_runs, airflow, s3):
    """Both write to the same place."""

    def version(dag, body):
        class Writes(list):
            def __getitem__(self, place):
                if place == 0 and len(self) == 1:
                    s3.put("s3://out/r.json", body)
                return super().__getitem__(place)

        airflow.dags[dag] = False
        airflow.next[dag] = Run(Writes([Moment("success", [declares("t", "s3://out/r.json")])]), {}, dict(TIMES))

    version("d__1_2_0", '{"v": 1}')
    version("d__1_3_0", '{"v": 2}')
    words = ["--logical-date", "2026-01-31T00:00:00Z", "--param", "day=7"]
    code, out, _, report = compare_runs("d", "1.2.0", "1.3.0", *words)
    assert code == 1
    assert "v: 1 → 2" in out
    first, second = airflow.bodies("POST")
    assert {name: first[name] for name in ("logical_date", "conf")} == {
        "logical_date": "2026-01-31T00:00:00+00:00",
        "conf": {"day": 7},
    }
    assert {name: second[name] for name in ("logical_date", "conf")} == {
        name: first[name] for name in ("logical_date", "conf")
    }
    assert [(report[side]["name"], report[side]["dag_id"]) for side in ("left", "right")] == [
        ("1.2.0", "d__1_2_0"),
        ("1.3.0", "d__1_3_0"),
    ]


def test_a_run_that_the_logical_date_has_is_taken(compare_runs, airflow):
    at, words = "2026-01-31T00:00:00+00:00", ("d", "1.2.0", "1.3.0", "--logical-date", "2026-01-31T00:00:00Z")
    airflow.runs["d__1_2_0", "scheduled"] = ended()
    airflow.runs["d__1_2_0", "scheduled"].more["logical_date"] = at
    airflow.dags["d__1_3_0"] = False
    airflow.next["d__1_3_0"] = ended()
    code, out, err, _ = compare_runs(*words)
    assert (code, out) == (0, "The same: 1 run\n")
    assert "run scheduled of DAG d__1_2_0 has that logical date, and is taken" in err
    assert len(airflow.bodies("POST")) == 1
    code, _, err, _ = compare_runs(*words, "--param", "day=7")
    assert code == 2
    assert "DAG d__1_2_0 has run scheduled of that logical date, on another configuration ({}): delete it" in err


def test_past_runs_of_two_versions(compare_runs, airflow):
    airflow.runs["d__1_2_0", "a"], airflow.runs["d__1_3_0", "b"] = ended(), ended()
    code, out, _, _ = compare_runs("d", "1.2.0", "1.3.0", "--runs", "a", "b")
    assert (code, out) == (0, "The same: 1 run\n")
    assert airflow.bodies("POST") == []


def test_runs_that_both_failed_are_not_said_to_be_the_same(compare_runs, runs):
    runs(ended(state="failed"), ended(state="failed"))
    assert compare_runs("d", "--runs", "a", "b")[0] == 2


def test_what_a_run_left_is_kept_and_the_next_is_compared_with_it(compare_runs, runs, s3, tmp_path):
    s3.put("s3://out/d/r.json", '{"v": 1.0}')
    s3.put("s3://out/d/other.bin", "x")
    runs(ended(declares("t", "s3://out/d/r.json", "s3://out/d/other.bin")), ended(declares("t", "s3://out/d/r.json")))
    kept = tmp_path / "expected"
    code, out, _, _ = compare_runs("d", "--runs", "a", "--expected", str(kept), "--keep")
    assert code == 0
    assert out.splitlines() == [str(kept / "out/d/r.json"), str(kept / "out/d/other.bin")]
    (kept / "out/d/other.bin").unlink()
    s3.put("s3://out/d/r.json", '{"v": 1}')
    assert compare_runs("d", "--runs", "b", "--expected", str(kept))[:2] == (0, "The same: 1 output\n")
    s3.put("s3://out/d/r.json", '{"v": 2}')
    code, out, _, _ = compare_runs("d", "--runs", "b", "--expected", str(kept))
    assert code == 1
    assert "  s3://out/d/r.json: 1 difference" in out


def test_a_run_that_failed_is_not_what_was_kept(compare_runs, runs, s3, tmp_path):
    (tmp_path / "expected" / "out").mkdir(parents=True)
    (tmp_path / "expected" / "out" / "r.bin").write_text("x")
    s3.put("s3://out/r.bin", "x")
    runs(ended(state="failed"), ended())
    code, out, _, _ = compare_runs("d", "--runs", "a", "--expected", str(tmp_path / "expected"))
    assert code == 1
    assert "the run ended as failed" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1.2.0"], "give two versions, or --runs RUN1 RUN2"),
        (["--runs", "a"], "give two runs"),
        (["--expected", "/nowhere", "--runs", "a"], "/nowhere is no folder"),
        (["--expected", "/tmp", "--runs", "a", "b"], "--expected compares one run"),
        (["--runs", "a", "b", "--keep"], "--keep needs --expected"),
        (["--runs", "a", "b", "--param", "x=1"], "--runs triggers no run"),
        (["--runs", "a", "c"], "there is no run c"),
        (["1.2.0", "1.3.0"], "has no DAG d__1_2_0"),
    ],
)
def test_what_cannot_be_compared_is_said(compare_runs, runs, words, said):
    runs(ended(), ended())
    code, _, err, report = compare_runs("d", *words)
    assert code == 2
    assert said in err
    assert report is None


def test_a_run_that_goes_on_is_not_compared(compare_runs, airflow, runs, tmp_path):
    runs(ended(), ended(state="running"))
    code, _, err, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "run b of DAG d is running: wait for its end" in err
    kept = tmp_path / "out" / "r.bin"
    kept.parent.mkdir()
    kept.write_text("x")
    code, _, err, _ = compare_runs("d", "--runs", "b", "--expected", str(tmp_path))
    assert code == 2
    assert "run b of DAG d is running: wait for its end" in err


def test_a_declaration_that_airflow_has_cut_is_no_empty_one(compare_runs, runs):
    cut = instance("t", "success", rendered_fields={"annotations": "Truncated. … {'airflow-platform/outputs': 's3://o"})
    runs(ended(cut), ended(cut))
    code, _, err, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "task t declares more outputs than Airflow keeps of a template: name a folder" in err


def test_an_s3_that_does_not_let_us_is_no_missing_file(compare_runs, runs, s3):
    s3.refuse = 403
    runs(ended(declares("t", "s3://out/r.bin")), ended(declares("t", "s3://out/r.bin")))
    code, out, _, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "a: s3://out/r.bin cannot be read: " in out
    assert "AWS_ENDPOINT_URL_S3" in out
    runs(ended(declares("t", "s3://out/parts/")), ended(declares("t", "s3://out/parts/")))
    code, _, err, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "s3://out/parts/ cannot be read: " in err


def test_what_cannot_be_read_is_not_kept(compare_runs, runs, s3, tmp_path):
    s3.refuse = 403
    runs(ended(declares("t", "s3://out/r.bin")), ended())
    code, _, err, _ = compare_runs("d", "--runs", "a", "--expected", str(tmp_path / "expected"), "--keep")
    assert code == 2
    assert "not kept: s3://out/r.bin: s3://out/r.bin cannot be read" in err


def test_what_cannot_be_kept_where_it_is_to_be(compare_runs, runs, s3, tmp_path):
    s3.put("s3://out/r.bin", "x")
    runs(ended(declares("t", "s3://out/r.bin")), ended())
    (tmp_path / "out").write_text("a file where a folder would be")
    code, _, err, _ = compare_runs("d", "--runs", "a", "--expected", str(tmp_path), "--keep")
    assert code == 2
    assert "out/r.bin cannot be written: " in err


def test_a_mistake_of_ours_is_no_difference(compare_runs, runs, monkeypatch):
    runs(ended(), ended())
    monkeypatch.setattr(findings, "compare", lambda *_: 1 / 0)
    code, _, err, _ = compare_runs("d", "--runs", "a", "b")
    assert code == 2
    assert "ZeroDivisionError" in err


def test_a_report_that_cannot_be_written(airflow, runs, s3, capsys):
    runs(ended(), ended())
    words = ["compare", "d", "--runs", "a", "b", "--url", airflow.url, "--report", "/nowhere/x.html"]
    assert cli.main(words) == 2
    assert "/nowhere/x.html cannot be written: No such file or directory" in capsys.readouterr().err


def test_the_page_shows_what_people_wrote_as_text_and_loads_nothing(compare_runs, runs, tmp_path):
    runs(
        ended(instance("t", "success"), xcoms={("t", -1, "k"): "<script>alert(1)</script>"}),
        ended(instance("t", "success", try_number=2), xcoms={("t", -1, "k"): "<b>"}, conf={"x": "<i>"}),
    )
    compare_runs("d", "--runs", "a", "b")
    page = (tmp_path / "comparison.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for never in ("<script", "<b>", "<i>", "<link", "<img", "@import", "src="):
        assert never not in page
    assert page.index("What is different") < page.index("How long each task took") < page.index("What is the same")
