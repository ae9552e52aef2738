"""Imported by every Python that has this folder on its path: takes rings out of the package.

For tests only, and not part of the package: there is no option that does this.
See ``tests/enforcement/ring_switches.py``.
"""

import importlib.abc
import os
import sys

#: Ring -> (module, attribute, what stands there instead).
SWITCHES = {
    "flow": ("airflow_approvals.enforcement.flow_ring", "check", lambda dag: None),
    "start": ("airflow_approvals.enforcement.rings", "is_behind_a_gate", lambda session, ti_id: False),
    "credential": ("airflow_approvals.enforcement.rings", "is_protected", lambda session, conn_id: False),
}


class _Patching(importlib.abc.Loader):
    def __init__(self, loader, switches):
        self._loader, self._switches = loader, switches

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        for attribute, instead in self._switches:
            # An attribute that is gone would leave the ring on and the test without a meaning.
            assert hasattr(module, attribute), f"{module.__name__} has no {attribute} to switch off"
            setattr(module, attribute, instead)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, rings):
        self._switches = {}
        for ring in rings:
            name, attribute, instead = SWITCHES[ring]
            self._switches.setdefault(name, []).append((attribute, instead))

    def find_spec(self, fullname, path, target=None):
        if fullname not in self._switches:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Patching(spec.loader, self._switches[fullname])
                return spec
        return None


if _off := [ring for ring in os.environ.get("APPROVALS_TEST_RINGS_OFF", "").split(",") if ring]:
    sys.meta_path.insert(0, _Finder(_off))
