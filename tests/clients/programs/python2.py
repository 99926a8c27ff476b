"""Loads Autobahn's WebSocket suite, whose every release is written in Python 2.

Its sources are translated as they are imported. What Python 2 calls a string is bytes, so each is read as one letter a
byte, and stays so: whoever calls the cases hands letters in and takes letters out.
"""

import binascii
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
import types

from autobahn.websocket.utf8validator import Utf8Validator
from fissix import refactor

SUITE = "autobahntestsuite"
# What its sources use of Python 2.
FIXES = ["except", "has_key", "import", "print", "raise", "unicode", "xrange"]
# What the two languages spell alike and understand differently.
MEANINGS = {
    "binascii.b2a_hex(": "python2.hexadecimal(",
    "Utf8Validator()": "python2.Validator()",
    " / self.p.": " // self.p.",
    "(object, Case, )": "(Case,)",
    "from zope.interface import implements": "implements = repr",
}


def letters(octets):
    return octets.decode("latin-1")


def octets(letters):
    return letters.encode("latin-1") if isinstance(letters, str) else letters


def hexadecimal(text):
    return binascii.b2a_hex(octets(text)).decode()


class Validator(Utf8Validator):
    def validate(self, text):
        return super().validate(octets(text))


class Loader(importlib.machinery.SourceFileLoader):
    """One module of the suite. What it makes of the source is kept beside it, as of any other."""

    tool = None

    def source_to_code(self, data, path, *, _optimization=-1):
        source = letters(data)
        for ours, theirs in MEANINGS.items():
            source = source.replace(ours, theirs)
        if Loader.tool is None:
            Loader.tool = refactor.RefactoringTool([f"fissix.fixes.fix_{name}" for name in FIXES])
        tree = Loader.tool.refactor_string(source.rstrip() + "\n", path)
        return compile(str(tree), path, "exec", dont_inherit=True, optimize=_optimization)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] != SUITE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.origin and spec.origin.endswith(".py"):
            spec.loader = Loader(name, spec.origin)
        return spec


def load():
    """The suite's cases, and how it finds its way in them."""
    sys.meta_path.insert(0, Finder())
    builtins.python2 = sys.modules[__name__]
    folder = pathlib.Path(importlib.util.find_spec(SUITE).origin).parent
    # The whole of it would be its own command line, with all that this can do.
    suite = types.ModuleType(SUITE)
    suite.__path__ = [str(folder)]
    sys.modules[SUITE] = suite
    # The cases of compression are made for an older library's names, so they are none.
    compression = types.ModuleType(f"{SUITE}.case.case12_x_x")
    for series in ("Case12_X_X", "Case13_X_X"):
        vars(compression)[series] = []
        vars(compression)[f"{series}_CaseSubCategories"] = {}
    sys.modules[compression.__name__] = compression
    case = importlib.import_module(f"{SUITE}.case")
    chosen = importlib.import_module(f"{SUITE}.caseset")
    names = (case.CaseSetname, case.CaseBasename, case.Cases, case.CaseCategories, case.CaseSubCategories)
    return chosen.CaseSet(*names)
