"""Images, compose.yaml and k8s/: they are in order, and fit the programs that they start."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiortc import RTCPeerConnection
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from common.ice import SECRET, IceConfig, IceServer, credentials
from programs import client_options, server_options
from tools.manifests import check, load
from tools.procfs import free_port
from tools.turn import wait_for_port
from transport.ice import configuration

ROOT = Path(__file__).parent.parent
K8S = ROOT / "k8s"
PROGRAMS = ("server", "client")
IMAGES_PYTHON = {"python_version": "3.13", "extra": ""}


def dockerfile(name: str) -> str:
    """Return the text of a program's Dockerfile."""
    return (ROOT / f"Dockerfile.{name}").read_text()


def exec_form(name: str, instruction: str) -> list[str]:
    """Return the arguments of an instruction of a Dockerfile, which have to be in exec form."""
    found = re.findall(rf"^{instruction} (\[.*\])$", dockerfile(name), re.MULTILINE)
    assert len(found) == 1
    arguments: list[str] = json.loads(found[0])
    return arguments


def deployment(name: str) -> dict[str, Any]:
    """Return the pod that a program's Deployment describes."""
    found = next(each for each in load(K8S / f"{name}.yaml") if each["kind"] == "Deployment")
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def container(name: str) -> dict[str, Any]:
    """Return the one container of a program's pod."""
    (only,) = deployment(name)["containers"]
    return dict(only)


def service(name: str) -> dict[str, Any]:
    """Return a service of compose.yaml."""
    (loaded,) = load(ROOT / "compose.yaml")
    return dict(loaded["services"][name])


def tool(name: str) -> str:
    """Return where a tool is; skip the test where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def pins(name: str) -> dict[str, Requirement]:
    """Return the packages that a requirements file lists, by name."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    listed = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {canonicalize_name(each.name): each for each in listed}


# --- Images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_dockerfile_passes_the_linter(name: str):
    """Hadolint has nothing to say of a Dockerfile but what is explained there."""
    done = subprocess.run([tool("hadolint"), ROOT / f"Dockerfile.{name}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    for line in dockerfile(name).splitlines():
        if "hadolint ignore" in line:
            assert re.search(r"ignore=DL\d+ +# .", line)


@pytest.mark.parametrize("name", PROGRAMS)
def test_dockerfile_starts_its_program_without_rights(name: str):
    """The program is a child of an init, in exec form, and no user that has rights."""
    entry = exec_form(name, "ENTRYPOINT")
    assert entry[0] == "tini"
    program = entry.index("--") + 1
    assert entry[program : program + 2] == ["python3", f"{name}.py"]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile(name), re.MULTILINE)


@pytest.mark.parametrize("name", PROGRAMS)
def test_dockerfile_installs_before_it_copies_the_code(name: str):
    """A change of the code leaves the layers with the packages as they are."""
    text = dockerfile(name)
    assert text.rindex("pip install") < text.index(f"COPY {name}.py")


def test_dockerfiles_share_their_lowest_layers():
    """Down to the packages of the server, both Dockerfiles are the same word for word."""
    shared = "RUN pip install --requirement requirements-server.txt\n"
    lowest = []
    for name in PROGRAMS:
        text = dockerfile(name)
        lowest.append(text[text.index("FROM ") : text.index(shared)])
    assert lowest[0] == lowest[1]


def test_images_base_is_pinned():
    """The base is the official slim image of a Python version that the project is tested with, on a named Debian."""
    bases = {re.findall(r"^FROM (.*)$", dockerfile(name), re.MULTILINE)[0] for name in PROGRAMS}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.1[123]-slim-[a-z]+", bases.pop())


def test_requirements_of_the_images_are_versions_that_the_project_allows():
    """The images have every package of requirements.txt, one exact version each; OpenCV headless, for the client."""
    allowed, on_server, on_client = (pins(f"requirements{each}.txt") for each in ("", "-server", "-client"))
    for name, exact in {**on_server, **on_client}.items():
        (specifier,) = exact.specifier
        assert specifier.operator == "=="
        wanted = allowed.get(name.removesuffix("-headless"))
        assert wanted is None or specifier.version in wanted.specifier
    assert {name.removesuffix("-headless") for name in {**on_server, **on_client}} >= set(allowed)
    assert set(on_client) == {"opencv-python-headless"}


def test_requirements_of_the_images_leave_nothing_open():
    """What the packages need is pinned too, so that an image built later is the same."""
    pinned = pins("requirements-server.txt")
    for name in pinned:
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate(IMAGES_PYTHON):
                assert canonicalize_name(needed.name) in pinned, f"{name} needs {needed.name}"


def test_server_needs_no_opencv():
    """Without OpenCV the server starts, as its image has none, and says which transports it cannot offer."""
    program = "import sys; sys.modules['cv2'] = None; import server; server.parse_args([])"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    program = (
        "from programs import server_options as options; options.find_spec = lambda name: None; "
        "options.parse_args(['--transport', 'tcp'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "argument --transport: tcp needs OpenCV" in done.stderr


def test_dockerignore_lets_in_what_is_copied():
    """What the Dockerfiles copy is in the build's context, and there is little else."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for name in PROGRAMS
        for line in re.findall(r"^COPY (.*)$", dockerfile(name), re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_in


@pytest.mark.parametrize("name", PROGRAMS)
def test_dockerfile_copies_all_that_its_program_imports(name: str, tmp_path: Path):
    """With what is copied and nothing else, the program starts, and every module beside it can be imported."""
    for line in re.findall(r"^COPY (.*)$", dockerfile(name), re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target)
            else:
                (tmp_path / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    modules = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in modules]
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", program, *names], cwd=tmp_path, check=True, timeout=60)


# --- Command lines -------------------------------------------------------------------------------


def own_options(name: str) -> list[str]:
    """Return the options that an image gives its program before those of the command."""
    entry = exec_form(name, "ENTRYPOINT")
    return entry[entry.index(f"{name}.py") + 1 :]


@pytest.mark.parametrize("where", ["image", "compose", "k8s"])
def test_server_is_started_with_options_that_it_has(where: str):
    """The server in a container can be reached from outside, and is watched at the port that the probes ask."""
    command = {
        "image": [],
        "compose": service("server").get("command") or [],
        "k8s": container("server")["args"],
    }[where]
    args, _ = server_options.parse_args(own_options("server") + command)
    assert (args.signaling_host, args.signaling_port, args.http) == ("0.0.0.0", 1234, ("0.0.0.0", 8080))


@pytest.mark.parametrize(("where", "host"), [("image", "server"), ("compose", "server"), ("k8s", "ball-server")])
def test_client_is_started_with_options_that_it_has(where: str, host: str):
    """The client in a container dials the server by its name there, stays for the next, and shows its page outside."""
    command = {
        "image": exec_form("client", "CMD"),
        "compose": service("client").get("command") or exec_form("client", "CMD"),
        "k8s": container("client")["args"],
    }[where]
    args = client_options.parse_args(own_options("client") + command)
    assert (args.signaling_host, args.signaling_port, args.stay) == (host, 1234, True)
    assert (tuple(args.view), args.http) == (("web",), ("0.0.0.0", 8080))


@pytest.mark.parametrize("view", ["none", "web", "auto"])
def test_client_of_the_image_is_watched_with_every_view(view: str):
    """Whatever options follow the image's name, the port that its health check asks is listened at."""
    args = client_options.parse_args([*own_options("client"), "--view", view])
    assert args.http == ("0.0.0.0", 8080)


# --- compose.yaml --------------------------------------------------------------------------------


def test_compose_is_accepted():
    """Docker Compose itself finds nothing wrong with the file."""
    done = subprocess.run(
        [tool("docker-compose"), "--file", ROOT / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_waits_for_a_healthy_server():
    """The client starts when the server's health check says so, and the page is for this machine only."""
    assert service("client")["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert service("client")["ports"] == ["127.0.0.1:8080:8080"]
    assert "HEALTHCHECK" in dockerfile("server")
    for name in PROGRAMS:
        assert service(name)["build"]["dockerfile"] == f"Dockerfile.{name}"
        assert service(name)["read_only"] is True
        assert service(name)["cap_drop"] == ["ALL"]


def test_profile_of_a_media_server_publishes_and_watches_the_same_film():
    """What one program publishes the other watches, at the service that the file has, and reports to the first."""
    args, _ = server_options.parse_args(own_options("server") + service("publisher")["command"])
    watching = client_options.parse_args(own_options("client") + service("watcher")["command"])
    where, _, path = args.whip.removeprefix("http://mediamtx:8889/").partition("/")
    assert (where, path) == ("film", "whip")
    assert watching.whep == args.whip.replace("/whip", "/whep")
    assert watching.signaling_host == "publisher"
    for name in ("mediamtx", "publisher", "watcher"):
        assert service(name)["profiles"] == ["media-server"]
        assert service(name)["read_only"] is True
        assert service(name)["cap_drop"] == ["ALL"]


def turn_options(where: str) -> list[str]:
    """Return the options that a TURN server is started with."""
    if where == "compose":
        return list(service("turn")["command"])
    (found,) = (each for each in load(K8S / "turn" / "turn.yaml") if each["kind"] == "Deployment")
    (only,) = found["spec"]["template"]["spec"]["containers"]
    return list(only["args"])


async def offer_by(url: str) -> str:
    """Return an offer whose candidates are a TURN server's, with a name and a password from the secret `north`."""
    known = credentials({SECRET: "north"}, time.time())
    assert known is not None
    pc = RTCPeerConnection(configuration(IceConfig((IceServer(url, *known),), relay_only=True)))
    pc.createDataChannel("channel")
    await pc.setLocalDescription(await pc.createOffer())
    offer: str = pc.localDescription.sdp
    await pc.close()
    return offer


@pytest.mark.turn
@pytest.mark.parametrize("where", ["compose", "k8s"])
def test_turn_server_is_started_with_options_that_it_has(where: str, tmp_path: Path):
    """A real TURN server takes them, with the secret in its file, writes nothing but where it may, and gives relays."""
    options, port = turn_options(where), free_port()
    configured = options[options.index("-c") + 1]
    assert not any("secret=" in option for option in options)
    (tmp_path / "turnserver.conf").write_text("static-auth-secret=north\n")
    here = [each.replace(configured, "turnserver.conf").replace("/tmp/", f"{tmp_path}/") for each in options]
    here += [f"--listening-port={port}", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"]
    process = subprocess.Popen([tool("turnserver"), *here], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        assert " typ relay " in asyncio.run(offer_by(f"turn:127.0.0.1:{port}"))
    finally:
        process.kill()
        process.wait()
    assert {path.name for path in tmp_path.iterdir()} <= {"turnserver.conf", "pid", "users"}


def test_compose_has_a_pair_that_may_meet_through_a_relay_only(monkeypatch: pytest.MonkeyPatch):
    """Both ask the TURN server of the profile, with the secret from the environment; without it, nobody does."""
    monkeypatch.setenv(SECRET, "north")
    for name, parse in (("relayed-server", server_options.parse_args), ("relayed-client", client_options.parse_args)):
        found = service(name)
        parsed: Any = parse(own_options(name.removeprefix("relayed-")) + found["command"])
        args = parsed[0] if isinstance(parsed, tuple) else parsed
        assert (args.ice_server, args.relay_only) == (["turn:turn:3478"], True)
        assert found["profiles"] == service("turn")["profiles"] == ["turn"]
        assert found["environment"] == [SECRET]
        assert not any("north" in word for word in found["command"])
    assert all("profiles" not in service(name) for name in PROGRAMS)


# --- k8s/ ----------------------------------------------------------------------------------------


def test_manifests_have_no_findings():
    """Every manifest keeps to the schema of its kind."""
    assert check(K8S) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"),
    [
        ("server.yaml", "image: ball-server", "immage: ball-server", "immage"),
        ("server.yaml", "name: ball-server\n  labels", "name: ball-server\n  name: b\n  labels", "there twice"),
        ("server.yaml", "kind: Service", "kind: Servise", "there is no Servise"),
    ],
)
def test_check_finds_what_is_broken(tmp_path: Path, file: str, old: str, new: str, finding: str):
    """One fault in one manifest is found, and named."""
    shutil.copytree(K8S, tmp_path, dirs_exist_ok=True)
    path = tmp_path / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert any(finding in each for each in check(tmp_path))


@pytest.mark.parametrize("name", PROGRAMS)
def test_pods_have_no_rights(name: str):
    """A pod runs as a user without rights, on a read-only root, without capabilities or the cluster's token."""
    pod, inside = deployment(name)["securityContext"], container(name)["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"USER {pod['runAsUser']}:{pod['runAsGroup']}\n" in dockerfile(name)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert deployment(name)["automountServiceAccountToken"] is False
    assert container(name)["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("name", PROGRAMS)
def test_probes_leave_the_signaling_port_alone(name: str):
    """Every probe asks over HTTP at the health port: one of the signaling port would be taken for a client."""
    probes = {key: probe for key, probe in container(name).items() if key.endswith("Probe")}
    assert set(probes) == {"startupProbe", "readinessProbe", "livenessProbe"}
    assert all(probe["httpGet"]["port"] == "http" for probe in probes.values())
    assert {port["name"]: port["containerPort"] for port in container(name)["ports"]}["http"] == 8080
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_deployments_leave_the_number_of_pods_to_scaling():
    """Applying the manifests again undoes no `kubectl scale` and no autoscaler."""
    for name in PROGRAMS:
        (found,) = (each for each in load(K8S / f"{name}.yaml") if each["kind"] == "Deployment")
        assert "replicas" not in found["spec"]


def test_pods_fit_the_machine_that_the_docs_scale_to():
    """Four clients and three servers ask for no more than half of a node of two cores."""
    asked = {name: float(container(name)["resources"]["requests"]["cpu"].removesuffix("m")) for name in PROGRAMS}
    assert 4 * asked["client"] + 3 * asked["server"] <= 1000
    for name in PROGRAMS:
        assert container(name)["readinessProbe"]["periodSeconds"] == 1
        assert deployment(name)["enableServiceLinks"] is False


def test_images_have_the_same_version_everywhere():
    """The tag that a cluster runs is the version of the image and of the project: a new build rolls out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (kustomization,) = load(K8S / "kustomization.yaml")
    assert {each["name"]: each["newTag"] for each in kustomization["images"]} == {
        f"ball-{name}": project for name in PROGRAMS
    }
    for name in PROGRAMS:
        assert container(name)["image"] == f"ball-{name}"
        assert service(name)["image"] == f"ball-{name}:{project}"
        assert f'org.opencontainers.image.version="{project}"' in dockerfile(name)


def test_ports_outside_lead_to_ports_that_the_pods_have():
    """What a client outside asks for, signaling and the relay, is what the pods listen at, each by its name."""
    turned = load(K8S / "turn" / "turn.yaml")
    (relay,) = (each for each in turned if each["kind"] == "Deployment")
    pods = {
        "ball-turn": relay["spec"]["template"]["spec"]["containers"][0]["ports"],
        "ball-server": container("server")["ports"],
    }
    services = [each for each in turned if each["kind"] == "Service"]
    assert len(services) == 2
    for each in services:
        named = {port["name"]: port for port in pods[each["spec"]["selector"]["app.kubernetes.io/name"]]}
        for port in each["spec"]["ports"]:
            assert named[port["targetPort"]].get("protocol", "TCP") == port.get("protocol", "TCP")
    assert relay["spec"]["template"]["spec"]["volumes"][0]["secret"] == {"secretName": "ball-turn"}


def test_autoscaler_takes_servers_away_one_by_one():
    """Scaling in never ends many sessions at once: one pod in five minutes at most."""
    (scaler,) = load(K8S / "autoscaling" / "hpa.yaml")
    assert scaler["spec"]["behavior"]["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]


def test_images_have_a_standard_library_that_is_compiled():
    """On a root that is read-only Python compiles at every start what the image has not compiled."""
    for name in PROGRAMS:
        text = dockerfile(name)
        assert text.index("compileall -q -x") < text.index("COPY requirements-server.txt")
        assert "pip uninstall --yes pip" in text


def test_kustomization_with_the_components_resolves(tmp_path: Path):
    """Kustomize itself makes one list of all, the optional component included."""
    shutil.copytree(K8S, tmp_path / "k8s")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(
        "resources: [../k8s]\ncomponents: [../k8s/autoscaling, ../k8s/production, ../k8s/turn]\n"
    )
    done = subprocess.run([tool("kubectl"), "kustomize", mine], capture_output=True, text=True, check=True)
    kinds = sorted(f"{each['kind']}/{each['metadata']['name']}" for each in yaml.safe_load_all(done.stdout))
    assert kinds == [
        "Deployment/ball-client",
        "Deployment/ball-server",
        "Deployment/ball-turn",
        "HorizontalPodAutoscaler/ball-server",
        "NetworkPolicy/ball-client",
        "NetworkPolicy/ball-server",
        "NetworkPolicy/ball-server-outside",
        "NetworkPolicy/ball-turn",
        "PodDisruptionBudget/ball-server",
        "Service/ball-server",
        "Service/ball-server-outside",
        "Service/ball-turn",
    ]
