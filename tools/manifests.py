"""Check Kubernetes manifests as strictly as the API server would, without one.

    python3 -m tools.manifests k8s

Three things are looked at: the YAML (no key twice), each object against the schema of its kind (nothing unknown,
nothing missing; the schemas are those in kubernetes-validate), and what no schema says but has to fit: selectors
and labels, ports by their names, requests and limits, what an autoscaler scales, what a kustomization lists.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no stubs
import yaml

Object = dict[str, Any]

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


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


def containers(item: Object) -> list[Object]:
    """Return the containers of a Deployment's pods."""
    found: list[Object] = item["spec"]["template"]["spec"]["containers"]
    return found


def amount(quantity: str | int) -> float:
    """Return a quantity of Kubernetes as a number.

    >>> amount("250m"), amount(2), amount("64Mi")
    (0.25, 2.0, 67108864.0)
    """
    text = str(quantity)
    digits = text.rstrip("kMGim")
    return float(digits) * UNITS[text[len(digits) :]]


# --- Findings ------------------------------------------------------------------------------------


def check(folder: Path) -> list[str]:
    """Return what is wrong with the manifests in a folder and below it; an empty list if nothing is."""
    findings: list[str] = []
    objects: list[Object] = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            loaded = load(path)
        except yaml.YAMLError as error:
            findings.append(f"{path}: {error}")
            continue
        if path.name == "kustomization.yaml":
            findings += [f"{path}: {finding}" for finding in check_kustomization(path, loaded)]
            continue
        findings += [f"{path}: {name_of(item)}: {finding}" for item in loaded for finding in check_schema(item)]
        objects += loaded
    if not objects:
        findings.append(f"{folder}: no manifest in it")
    if not findings:  # who does not keep to the schema cannot be looked at further
        findings += [f"{name_of(item)}: {finding}" for item in objects for finding in check_fit(item, objects)]
    return findings


def check_kustomization(path: Path, loaded: list[Object]) -> Iterator[str]:
    """Tell what a kustomization lists that is not there, and what is there that it does not list."""
    listed = [name for item in loaded for name in item.get("resources", [])]
    there = {each.name for each in path.parent.glob("*.yaml")} - {path.name}
    for name in set(listed) ^ there:
        yield f"{name} is {'listed and not there' if name in listed else 'there and not listed'}"


def check_schema(item: Object) -> Iterator[str]:
    """Tell where an object breaks the schema of its kind."""
    try:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"there is no {item.get('kind')} in {item.get('apiVersion')}"


def check_fit(item: Object, objects: list[Object]) -> Iterator[str]:
    """Tell where an object does not fit itself or the others."""
    if [name_of(each) for each in objects].count(name_of(item)) > 1:
        yield "is defined twice"
    match item["kind"]:
        case "Deployment":
            yield from check_deployment(item)
        case "Service":
            yield from check_service(item, objects)
        case "HorizontalPodAutoscaler":
            target = "{kind}/{name}".format_map(item["spec"]["scaleTargetRef"])
            if target not in map(name_of, objects):
                yield f"there is no {target} to scale"


def check_deployment(item: Object) -> Iterator[str]:
    """Tell where a Deployment's labels, ports or resources do not fit each other."""
    labels = item["spec"]["template"]["metadata"]["labels"]
    if not item["spec"]["selector"]["matchLabels"].items() <= labels.items():
        yield "its selector does not choose its own pods"
    for container in containers(item):
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in PROBES:
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if port is not None and port not in ports:
                yield f"{probe} asks at {port}, which is no port of the container"
        resources = container.get("resources", {})
        for name, request in resources.get("requests", {}).items():
            if amount(request) > amount(resources.get("limits", {}).get(name, request)):
                yield f"it requests more {name} than its limit"


def check_service(item: Object, objects: list[Object]) -> Iterator[str]:
    """Tell which ports of a Service lead nowhere."""
    pods = [
        each
        for each in objects
        if each["kind"] == "Deployment"
        and item["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    ]
    if not pods:
        yield "it chooses no pod"
    for each in pods:
        ports = {port["name"] for container in containers(each) for port in container.get("ports", [])}
        for port in item["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"its port {port['name']} leads to {port['targetPort']}, which {name_of(each)} does not have"


def main() -> int:
    """Print what is wrong; return the exit status: 0 nothing, 1 something."""
    parser = argparse.ArgumentParser(description="Check Kubernetes manifests as strictly as the API server would.")
    parser.add_argument("folder", type=Path)
    findings = check(parser.parse_args().folder)
    print(*findings, f"{len(findings)} findings, Kubernetes {kubernetes_validate.latest_version()}", sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
