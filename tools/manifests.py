"""Check Kubernetes manifests against the schemas of the API server, without one.

    python3 -m tools.manifests k8s

The YAML must have no key twice, and each object must keep to the schema of its kind: nothing unknown, nothing
missing. The schemas are those in kubernetes-validate.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no stubs
import yaml

Object = dict[str, Any]


class StrictLoader(yaml.SafeLoader):
    """Loads YAML, and refuses a mapping that has the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping.

        Raises:
            yaml.constructor.ConstructorError: a key is there twice.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(path: Path) -> list[Object]:
    """Return the objects in a file of YAML documents.

    Raises:
        yaml.YAMLError: it is none.
    """
    return [each for each in yaml.load_all(path.read_text(encoding="utf-8"), StrictLoader) if each is not None]


def name_of(item: Object) -> str:
    """Return an object's kind and name."""
    return f"{item.get('kind')}/{item.get('metadata', {}).get('name')}"


def check(folder: Path) -> list[str]:
    """Return what is wrong with the manifests in a folder and below it; an empty list if nothing is."""
    findings: list[str] = []
    checked = 0
    for path in sorted(folder.rglob("*.yaml")):
        try:
            loaded = load(path)
        except yaml.YAMLError as error:
            findings.append(f"{path}: {error}")
            continue
        if path.name != "kustomization.yaml":  # kubectl's own; no schema of the API server
            findings += [f"{path}: {name_of(item)}: {finding}" for item in loaded for finding in check_schema(item)]
            checked += len(loaded)
    return findings if checked or findings else [f"{folder}: no manifest in it"]


def check_schema(item: Object) -> Iterator[str]:
    """Tell where an object breaks the schema of its kind."""
    try:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"there is no {item.get('kind')} in {item.get('apiVersion')}"


def main() -> int:
    """Print what is wrong; return the exit status: 0 nothing, 1 something."""
    parser = argparse.ArgumentParser(description="Check Kubernetes manifests as strictly as the API server would.")
    parser.add_argument("folder", type=Path)
    findings = check(parser.parse_args().folder)
    print(*findings, f"{len(findings)} findings, Kubernetes {kubernetes_validate.latest_version()}", sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
