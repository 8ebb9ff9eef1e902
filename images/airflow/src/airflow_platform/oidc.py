"""Single sign-on by OpenID Connect for FAB's auth manager: its settings, from the values, and who gets which role.

`airflow_platform.flask_config` hands what :func:`settings` returns to FAB.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride
from flask import current_app
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import func, select
from werkzeug.security import check_password_hash

log = logging.getLogger(__name__)

#: Variables with `auth.oidc` of the values, as JSON, and with the client's secret.
ENVIRONMENT_VARIABLE = "AIRFLOW_PLATFORM_OIDC"
SECRET_VARIABLE = "AIRFLOW_PLATFORM_OIDC_CLIENT_SECRET"
#: Seconds that the provider may take for one answer: a person waits for it.
_TIMEOUT = 10


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class Claims(_Section):
    """Which claim of the provider's holds what; a dot leads into a claim that is a map."""

    username: str
    email: str
    first_name: str
    last_name: str
    roles: str


class Provider(_Section):
    """An OpenID provider, as `auth.oidc` of the values describes it.

    ``role_mapping`` are the roles of each group of the provider's; ``default_role`` is that of people in none of these
    (empty: they are refused).
    """

    name: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    claims: Claims
    role_mapping: dict[str, tuple[str, ...]] = {}
    default_role: str = ""


def settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """FAB's settings.

    Raises:
        KeyError: the chart did not set both variables.
    """
    provider = Provider.model_validate(json.loads(environment[ENVIRONMENT_VARIABLE]))
    return {
        "AIRFLOW_PLATFORM_OIDC": provider,
        "SECURITY_MANAGER_CLASS": SecurityManager,
        # flask_appbuilder.const.AUTH_OAUTH
        "AUTH_TYPE": 4,
        "AUTH_USER_REGISTRATION": True,
        "AUTH_USER_REGISTRATION_ROLE": provider.default_role,
        "AUTH_ROLES_MAPPING": {group: list(roles) for group, roles in provider.role_mapping.items()},
        # Who leaves a group loses its roles at the next login.
        "AUTH_ROLES_SYNC_AT_LOGIN": True,
        "OAUTH_PROVIDERS": [
            {
                "name": provider.name,
                "icon": "fa-sign-in",
                "token_key": "access_token",
                "remote_app": {
                    "client_id": provider.client_id,
                    "client_secret": environment[SECRET_VARIABLE],
                    "server_metadata_url": f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration",
                    "client_kwargs": {
                        "scope": " ".join(provider.scopes),
                        "code_challenge_method": "S256",
                        "default_timeout": _TIMEOUT,
                    },
                },
            }
        ],
    }


class SecurityManager(FabAirflowSecurityManagerOverride):
    """FAB's, which takes people as the provider names them, and roles from its groups."""

    def get_oauth_user_info(self, provider: str, resp: dict[str, Any]) -> dict[str, Any]:
        """Who has logged in, from the ID token, which has been verified, and from what the provider adds to it.

        Raises:
            ValueError: the provider's two answers are about different people, or name nobody.
        """
        names = current_app.config["AIRFLOW_PLATFORM_OIDC"].claims
        claims = dict(resp["userinfo"])
        more = self.oauth_remotes[provider].userinfo(token=resp)
        if more["sub"] != claims["sub"]:
            raise ValueError("the provider's userinfo is about somebody else than its ID token")
        claims = {**more, **claims}
        username, groups = _claim(claims, names.username), _claim(claims, names.roles)
        if not username:
            raise ValueError(f"the provider gives no claim {names.username!r}: is a scope missing in auth.oidc.scopes?")
        return {
            "username": str(username),
            "email": _claim(claims, names.email) or "",
            "first_name": _claim(claims, names.first_name) or "",
            "last_name": _claim(claims, names.last_name) or "",
            "role_keys": [groups] if isinstance(groups, str) else list(groups or ()),
        }

    def auth_user_oauth(self, userinfo: dict[str, Any], rotate_session_id: bool = True) -> Any:
        """The user who has logged in, made at the first time; None, where nobody may by these claims."""
        if not userinfo:
            return None
        username, email = userinfo["username"], userinfo["email"]
        user = self.find_user(username=username)
        # Whom the provider made has the empty password, by which nobody can log in.
        if user is not None and user.password and not check_password_hash(user.password, ""):
            log.warning("%s has a password here: somebody of that name cannot log in by the provider", username)
            return None
        other = self._user_of(email) if email else None
        if other is not None and (user is None or other.id != user.id):
            log.warning("%s cannot log in: the address %s is that of user %s", username, email, other.username)
            return None
        if not self._oauth_calculate_user_roles(userinfo):
            log.warning("%s cannot log in: none of auth.oidc.roleMapping's groups, and no defaultRole", username)
            return None
        return super().auth_user_oauth(userinfo, rotate_session_id)

    def _user_of(self, email: str) -> Any:
        """Whoever has this address, in whatever letters: FAB's own goes by them."""
        found = self.session.scalars(select(self.user_model).where(func.lower(self.user_model.email) == email.lower()))
        return found.first()

    def _oauth_calculate_user_roles(self, userinfo: dict[str, Any]) -> list[Any]:
        roles = list(self.get_roles_from_keys(userinfo["role_keys"]))
        default = current_app.config["AIRFLOW_PLATFORM_OIDC"].default_role
        if not roles and default:
            roles = [role for role in [self.find_role(default)] if role is not None]
        return roles


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
