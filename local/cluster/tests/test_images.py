import io
import os
import tarfile

import pytest
from local.cluster import images, settings
from local.cluster.console import Problem
from local.cluster.images import Image


@pytest.fixture
def image(tmp_path, monkeypatch):
    """An image as the folders of images/ are; its base is already there."""
    folder = tmp_path / "extract"
    for name in ("Dockerfile", "README.md", "requirements.txt", "requirements-test.txt", "src/a.py", "tests/test_a.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.setattr(images, "base", lambda: "debian:1")
    return Image("extract", folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "src" / "a.py").write_text("other"),
        lambda folder: (folder / "src" / "b.py").write_text("new"),
        lambda folder: (folder / "src" / "a.py").rename(folder / "src" / "z.py"),
        lambda folder: (folder / "src" / "a.py").chmod(0o755),
        lambda folder: (folder / "requirements.txt").unlink(),
        lambda folder: (folder / "Dockerfile").write_text("FROM other"),
    ],
    ids=["content", "new file", "name", "mode", "file gone", "Dockerfile"],
)
@pytest.mark.parametrize("target", ["runtime", "test"])
def test_what_goes_in_makes_another_image(image, change, target):
    image = Image("extract", image.folder, target)
    before = image.built()
    change(image.folder)
    assert image.built() != before


@pytest.mark.parametrize("name", ["tests/test_a.py", "README.md", "requirements-test.txt"])
def test_what_only_tests_and_people_read_makes_no_other_image(image, name):
    before, tested = image.built(), images.test_stage(image).built()
    (image.folder / name).write_text("other")
    assert image.built() == before
    assert images.test_stage(image).built() != tested


@pytest.mark.parametrize("name", ["src/__pycache__/a.cpython-311.pyc", "src/a.pyc", ".ruff_cache/x"])
def test_caches_make_no_other_image(image, name):
    before = images.test_stage(image).built()
    (image.folder / name).parent.mkdir(exist_ok=True)
    (image.folder / name).write_text("cached")
    assert images.test_stage(image).built() == before


def test_base_target_arguments_and_programs_make_another_image(image, monkeypatch, tmp_path):
    folder = image.folder
    built = [
        image.built(),
        Image("extract", folder, target="test").built(),
        Image("extract", folder, target="builder").built(),
        Image("extract", folder, build_args={"VERSION": "1"}).built(),
        Image("extract", folder, build_args={"VERSION": "2"}).built(),
        Image("extract", folder, programs={"etcd": tmp_path / "go-1" / "etcd"}).built(),
        Image("extract", folder, programs={"etcd": tmp_path / "go-2" / "etcd"}).built(),
    ]
    monkeypatch.setattr(images, "base", lambda: "debian:2")
    built.append(image.built())
    assert len(set(built)) == len(built)


def test_the_clones_place_makes_no_other_image(image, tmp_path):
    before = image.built()
    moved = image.folder.rename(tmp_path / "elsewhere")
    assert Image("extract", moved).built() == before


def test_the_tag_is_the_version_of_a_task_image(image):
    assert image.version is None
    assert image.built() == f"airflow-platform/extract:{image.tag()}"
    (image.folder / "VERSION").write_text("1.2.0\n")
    assert image.tag() == "1.2.0"
    assert not image.built().endswith("1.2.0")


def test_a_folder_without_a_dockerfile(image):
    (image.folder / "Dockerfile").unlink()
    with pytest.raises(Problem, match=f"{image.folder} has no Dockerfile"):
        image.built()


def test_every_image_of_the_repository_has_a_key(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "base", lambda: "debian:1")
    found = [images.AIRFLOW, *images.tasks(), *images.stand_ins(tmp_path)]
    assert {"ticket-extract", "sentiment-train", "sentiment-score", "ticket-report"} <= {one.name for one in found}
    assert len({one.built() for one in found}) == len(found)


def members(image):
    with images._context(image) as file, tarfile.open(fileobj=file) as tar:
        return {one.name: (one, tar.extractfile(one).read()) for one in tar.getmembers()}


def test_the_context_holds_folder_programs_and_ca_bundle(image, tmp_path, monkeypatch):
    bundle, program = tmp_path / "bundle.pem", tmp_path / "go-1" / "versitygw"
    bundle.write_text("certificates")
    program.parent.mkdir()
    program.write_text("binary")
    program.chmod(0o755)
    # Debian's and Red Hat's bundles are links.
    link = tmp_path / "link.pem"
    link.symlink_to(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(link))
    found = members(Image("extract", image.folder, programs={"versitygw": program}))
    assert found.keys() == {"Dockerfile", "requirements.txt", "src/a.py", "bin/versitygw", "ca-certificates.crt"}
    assert found["ca-certificates.crt"][1] == b"certificates"
    assert found["bin/versitygw"][1] == b"binary"
    assert found["bin/versitygw"][0].mode == 0o755


def test_the_context_of_tests_has_them(image, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/not/there")
    names = members(images.test_stage(image)).keys()
    assert {"tests/test_a.py", "requirements-test.txt"} <= names
    assert "ca-certificates.crt" not in names


def test_a_strict_umask_or_owner_does_not_reach_the_image(image):
    (image.folder / "src" / "a.py").chmod(0o600)
    (image.folder / "Dockerfile").chmod(0o700)
    found = {name: one for name, (one, _) in members(image).items()}
    assert (found["src/a.py"].mode, found["Dockerfile"].mode) == (0o644, 0o755)
    assert {(one.uid, one.gid, one.uname) for one in found.values()} == {(0, 0, "")}


def test_the_context_begins_with_a_plain_header(image):
    """Docker tells a context from a Dockerfile by its first 512 bytes; a header of pax is none that it knows."""
    os.utime(image.folder / "Dockerfile", (1.5, 1.5))
    with images._context(image) as file:
        header = file.read(512)
    assert header[257:262] == b"ustar"
    assert header[156:157] == b"0"
    assert header.startswith(b"Dockerfile\0")


@pytest.fixture
def docker(fake, tmp_path):
    """An engine that builds; where it keeps what it was given."""
    fake(
        "docker",
        f"""
        cd {tmp_path}
        case "$1 $2" in
          "image inspect") [ -e built ] || exit 1; echo 123000000;;
          "buildx version") exit 1;;
          "build "*) echo "$DOCKER_BUILDKIT $@" >> arguments; cat > context.tar
            [ -e broken ] && {{ echo "Step 1/2 : RUN false"; echo "E: no such package"; exit 1; }}; touch built;;
        esac""",
    )
    return tmp_path


def test_an_image_is_built_once_from_its_context(image, docker, capsys):
    name = images.build(Image("extract", image.folder, build_args={"VERSION": "1"}))
    assert images.build(Image("extract", image.folder, build_args={"VERSION": "1"})) == name
    (arguments,) = (docker / "arguments").read_text().splitlines()
    assert (
        arguments.split()
        == (
            f"0 build --network host --target runtime --tag {name} --build-arg BASE=debian:1 --build-arg VERSION=1 -"
        ).split()
    )
    with tarfile.open(fileobj=io.BytesIO((docker / "context.tar").read_bytes())) as tar:
        assert "Dockerfile" in tar.getnames()
    assert "ok  Image extract: building: 123 MB" in capsys.readouterr().out


def test_a_build_that_fails_says_why(image, docker):
    (docker / "broken").touch()
    with pytest.raises(Problem, match=r"building extract failed \(exit 1\):\n(.*\n)*.*E: no such package") as raised:
        images.build(image)
    assert str(settings.STATE / "log" / "image-extract-runtime.log") in str(raised.value)


def test_a_base_image_that_is_there_is_used(fake, tmp_path):
    fake("docker", f'echo "$@" >> {tmp_path}/calls; [ "$3" = {images.DEBIAN} ]')
    assert images.base() == images.DEBIAN
    assert "pull" not in (tmp_path / "calls").read_text()
