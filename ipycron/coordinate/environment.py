"""An environment variable selects the one instance that runs everything."""

from __future__ import annotations

import os

from ipycron.errors import CoordinatorError


class EnvRunCoordinator:
    """Runs every fire or none, depending on an environment variable.

    The variable is read at each fire, so that a process can be promoted while it runs.
    Nothing takes over when the chosen instance dies.

    Args:
        variable: its name; the value is ``true`` or ``false``.

    Raises:
        CoordinatorError: if the variable is unset or has any other value, here and at
            each fire.

    Source: node-cron 4.6.0, where the variable is ``NODE_CRON_RUN``.
    """

    def __init__(self, variable: str = "IPYCRON_RUN") -> None:
        self._variable = variable
        self._read()

    def __repr__(self) -> str:
        return f"<EnvRunCoordinator {self._variable}>"

    def should_run(self, key: str, lease: float) -> bool:  # noqa: ARG002 - protocol
        """Return whether the variable is ``true`` now."""
        return self._read()

    def on_complete(self, key: str) -> None:
        """Do nothing: there is no claim."""

    def _read(self) -> bool:
        value = os.environ.get(self._variable)
        if value == "true":
            return True
        if value == "false":
            return False
        got = "nothing" if value is None else repr(value)[:100]
        raise CoordinatorError(
            reason=f"{self._variable}: got {got}, expected 'true' or 'false'. Set it "
            "to 'true' on the one instance that runs distributed tasks and to 'false' "
            "on the others, or pass a run_coordinator."
        )
