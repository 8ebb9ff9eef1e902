from tools.security.sbom import strays

LOCK = """
boto3==1.40.0 \\
    --hash=sha256:0
typing-extensions==4.12.0 ; python_version < "3.11" \\
    --hash=sha256:1
"""


def test_what_the_lock_names_is_no_stray_however_it_is_spelt():
    assert strays([("boto3", "1.40.0"), ("Typing_Extensions", "4.12.0"), ("pip", "25.0")], LOCK) == []


def test_a_package_or_a_version_that_the_lock_does_not_name_is():
    assert strays([("boto3", "1.41.0"), ("evil", "1.0")], LOCK) == ["boto3 1.41.0", "evil 1.0"]
