import pytest


@pytest.fixture(scope="session")
def platform_values():
    return {"nodePools": [{"name": "narrow", "slots": 1, "nodeSelector": {"pool": "narrow"}}]}
