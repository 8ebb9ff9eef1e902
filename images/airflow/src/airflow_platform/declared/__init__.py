"""What the chart's values declare of Airflow's own objects: connections, variables, pools, roles, users.

The migrations Job writes them at each release that changes them, and takes away what is declared no more: roles stay,
and users are made inactive. What a person made is not touched, unless it has the name of something declared.
"""

from airflow_platform.declared.model import Declared, DeclaredError

__all__ = ["Declared", "DeclaredError", "write"]


def write(declared: Declared) -> None:
    """Bring the database to what is declared.

    Raises:
        DeclaredError: a declared object cannot be as it is; the message names it and holds no secret.
    """
    from airflow.configuration import conf

    from airflow_platform.declared import objects

    objects.write(declared)
    manager = conf.get("core", "auth_manager")
    if manager.endswith(".FabAuthManager"):
        from airflow_platform.declared import people

        people.write(declared)
    elif declared.roles or declared.users:
        raise DeclaredError(f"declared.roles and declared.users are FabAuthManager's, and {manager} is in use")
