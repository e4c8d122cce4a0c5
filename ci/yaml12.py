"""The core schema of YAML 1.2 (section 10.3.2) for PyYAML, which implements the types of YAML 1.1."""

import re

import yaml


class Yaml12(yaml.SafeLoader):
    """The core schema of YAML 1.2."""


Yaml12.yaml_implicit_resolvers = {}
for tag, pattern, first in [
    ("null", r"(null|Null|NULL|~|)\Z", ["n", "N", "~", ""]),
    ("bool", r"(true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    ("float", r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z",
     list("-+0123456789.")),
]:
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
Yaml12.add_constructor(
    "tag:yaml.org,2002:int", lambda _, node: int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10)
)
