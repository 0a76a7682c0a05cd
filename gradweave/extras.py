"""Packages that only some commands need."""

import importlib

from isa.errors import UserError


def need(module: str, extra: str, place: str) -> None:
    """Raises UserError at ``place`` with what to install, unless the module can be imported."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(place, f"needs the package {module}; install it with: pip install 'gradweave[{extra}]'") from error
