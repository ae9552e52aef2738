"""Takes one piece of the rings out of a server, as a broken installation might.

For tests only: imported by every Python that has this folder on its path. What is taken out is
named by ``APPROVALS_TEST_SABOTAGE``: ``hook`` (one hook, in one API version) or ``middleware``.
"""

import os

WHICH = os.environ.get("APPROVALS_TEST_SABOTAGE")

if WHICH == "hook":
    import cadwyn

    initialize = cadwyn.Cadwyn._cadwyn_initialize

    def initialize_without(self):
        initialize(self)
        for route in self.router.versioned_routers["2025-11-05"].routes:
            if route.path.endswith("/connections/{connection_id}"):
                kept = [one for one in route.dependant.dependencies if one.call.__name__ != "connection_hook"]
                assert len(kept) == len(route.dependant.dependencies) - 1
                route.dependant.dependencies[:] = kept

    cadwyn.Cadwyn._cadwyn_initialize = initialize_without
elif WHICH == "middleware":
    import airflow_approvals.plugin

    airflow_approvals.plugin.ApprovalsPlugin.fastapi_root_middlewares = []
