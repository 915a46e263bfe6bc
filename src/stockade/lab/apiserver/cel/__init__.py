"""The Common Expression Language, as far as rules of CustomResourceDefinitions need it.

In: the text of a rule. Out: a ``Program``, or CelError with a reason when the text is wrong or uses what is not evaluated here; a
program's value for ``self`` and ``oldSelf``. Called by ``crd.rules``. Rules: the CEL specification (errors absorbed by || and &&, macros
has, all, exists, exists_one, map, filter) and the Kubernetes libraries for strings, lists, IP and CIDR.
"""

from stockade.lab.apiserver.cel.errors import CelError
from stockade.lab.apiserver.cel.program import Program, compile_rule

__all__ = ["CelError", "Program", "compile_rule"]
