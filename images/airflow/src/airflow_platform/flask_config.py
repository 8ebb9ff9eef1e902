"""The configuration of Airflow's Flask app, which has the pages and the sessions of FAB's auth manager.

The chart makes a configuration file of FAB's for the api-server (`[fab] config_file`), which holds what `settings`
returns.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Any

from airflow.configuration import AIRFLOW_HOME, conf
from flask import Config

from airflow_platform import oidc

#: Where Airflow looks for a file where none is named.
_DEFAULT = os.path.join(AIRFLOW_HOME, "webserver_config.py")

#: What the key is for: a key for anything else, of the same secret, has to say something else.
_PURPOSE = b"airflow-platform: sessions of Flask"


def settings(environment: Mapping[str, str], path: str = "") -> dict[str, Any]:
    """Single sign-on's settings where the chart has it, else those of the user's own file; and a key for sessions.

    Airflow takes `[api] secret_key` for it, which whatever serves logs has too: a launcher, where code of DAGs could
    read it and sign whom it likes in. This one comes of the secret that signs tokens, which scheduler and api-server
    alone have.

    :param path: the user's file, which need not be there; else where Airflow looks for one.
    """
    found = Config(os.getcwd())
    if oidc.ENVIRONMENT_VARIABLE in environment:
        found.update(oidc.settings(environment))
    else:
        found.from_pyfile(os.path.expandvars(os.path.expanduser(path or _DEFAULT)), silent=True)
    if secret := conf.get("api_auth", "jwt_secret", fallback=""):
        found.setdefault("SECRET_KEY", hmac.new(secret.encode(), _PURPOSE, "sha256").hexdigest())
    return dict(found)
