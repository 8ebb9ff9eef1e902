import pytest
from local.cluster import settings


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Nothing of the real cluster's state is read or written."""
    for name in ("STATE", "CACHE"):
        monkeypatch.setattr(settings, name, tmp_path / name.lower())
        (tmp_path / name.lower()).mkdir()
