"""`python -m benchmarks.sdks`: what each SDK's call costs more with otel-llm, and how much code its table is.

One plain call of each SDK that is installed, against the offline provider in a process of its own; blocks of calls
without and with the instrumentation take turns. CPU time is that of the calling thread.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import importlib
import inspect
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from benchmarks.inside import functions
from benchmarks.report import Table, show, spread
from benchmarks.subjects import FOLDER, ROOT, Environment, SubjectError, last_line

BLOCKS, CALLS = 80, 3
TEXT = "Where is my order 1234? It should have been here on Monday."
ASKED: list[Any] = [{"role": "user", "content": TEXT}]
AWS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
CONVERSED: dict[str, Any] = {
    "modelId": "anthropic.claude-haiku-4-5-20251001-v1:0",
    "messages": [{"role": "user", "content": [{"text": TEXT}]}],
}
Call = Callable[[], Any]
_open = ExitStack()
"""What serves until the end."""


def _stainless(package: str, kind: str, model: str, **options: Any) -> Callable[[str], Call]:
    def connect(url: str) -> Call:
        base = {name: value.format(url=url) if isinstance(value, str) else value for name, value in options.items()}
        client: Any = getattr(importlib.import_module(package), kind)(api_key="k", **base)
        return lambda: client.chat.completions.create(model=model, messages=ASKED)

    return connect


def _anthropic(url: str) -> Call:
    client: Any = importlib.import_module("anthropic").Anthropic(api_key="k", base_url=url)
    return lambda: client.messages.create(model="claude-haiku-4-5", messages=ASKED, max_tokens=400)


def _mistral(url: str) -> Call:
    client: Any = importlib.import_module("mistralai.client").Mistral(api_key="k", server_url=f"{url}/mistral")
    return lambda: client.chat.complete(model="mistral-small-latest", messages=ASKED)


def _google_genai(url: str) -> Call:
    client: Any = importlib.import_module("google.genai").Client(api_key="k", http_options={"base_url": url})
    return lambda: client.models.generate_content(model="gemini-2.5-flash", contents=TEXT)


def _bedrock(url: str) -> Call:
    client: Any = importlib.import_module("boto3").client("bedrock-runtime", endpoint_url=url, **AWS)
    return lambda: client.converse(**CONVERSED)


def _aiobotocore(url: str) -> Call:
    session: Any = importlib.import_module("aiobotocore.session").get_session()
    loop = asyncio.new_event_loop()
    opening = session.create_client("bedrock-runtime", endpoint_url=url, **AWS)
    client = loop.run_until_complete(opening.__aenter__())
    _open.callback(lambda: loop.run_until_complete(client.close()))
    return lambda: loop.run_until_complete(client.converse(**CONVERSED))


def _cohere(url: str) -> Call:
    client: Any = importlib.import_module("cohere").ClientV2(api_key="k", base_url=f"{url}/cohere")
    return lambda: client.chat(model="command-r-08-2024", messages=ASKED)


def _ollama(url: str) -> Call:
    client: Any = importlib.import_module("ollama").Client(host=f"{url}/ollama")
    return lambda: client.chat(model="llama3.2", messages=ASKED)


def _huggingface(url: str) -> Call:
    client: Any = importlib.import_module("huggingface_hub").InferenceClient(base_url=f"{url}/huggingface", api_key="k")
    return lambda: client.chat_completion(model="meta-llama/Llama-3.3-70B-Instruct", messages=ASKED)


def _voyage(url: str) -> Call:
    client: Any = importlib.import_module("voyageai").Client(api_key="k", base_url=f"{url}/voyage/v1")
    return lambda: client.embed([TEXT], model="voyage-3.5")


def _azure_inference(url: str) -> Call:
    key: Any = importlib.import_module("azure.core.credentials").AzureKeyCredential("k")
    client: Any = importlib.import_module("azure.ai.inference").ChatCompletionsClient(f"{url}/models", key)
    return lambda: client.complete(model="gpt-4o-mini", messages=ASKED)


def _replicate(url: str) -> Call:
    client: Any = importlib.import_module("replicate").Client(api_token="k", base_url=url)
    asked = {"prompt": TEXT, "max_tokens": 100}
    return lambda: client.models.predictions.create("meta/meta-llama-3-70b-instruct", asked, wait=True)


def _xai(url: str) -> Call:
    host = _open.enter_context(importlib.import_module("examples.offline_provider.xai").served(url))
    client: Any = importlib.import_module("xai_sdk").Client(api_key="k", api_host=host)
    user = importlib.import_module("xai_sdk.chat").user
    return lambda: client.chat.create(model="grok-4-fast-reasoning", messages=[user(TEXT)]).sample()


def _watsonx(url: str) -> Call:
    # It insists on IBM's hosts.
    there = importlib.import_module("httpx").URL(url)

    def lead(request: Any) -> None:
        request.url = request.url.copy_with(scheme=there.scheme, host=there.host, port=there.port)

    package, clients = (importlib.import_module(f"ibm_watsonx_ai{name}") for name in ("", "._wrappers.httpx.client"))
    client = package.APIClient(package.Credentials(url="https://us-south.ml.cloud.ibm.com", token="t"))
    client.httpx_client = clients.HTTPXClient(event_hooks={"request": [lead]})
    client.default_project_id = "p"
    models: Any = importlib.import_module("ibm_watsonx_ai.foundation_models")
    model = models.ModelInference(model_id="ibm/granite-3-8b-instruct", api_client=client, validate=False)
    return lambda: model.chat(messages=ASKED)


def _litellm(url: str) -> Call:
    litellm: Any = importlib.import_module("litellm")
    return lambda: litellm.completion(
        model="anthropic/claude-haiku-4-5", api_key="k", api_base=url, messages=ASKED, max_tokens=400
    )


def _lm15(url: str) -> Call:
    dspy: Any = importlib.import_module("dspy")
    model = dspy.LM("openai/gpt-4o-mini", api_base=f"{url}/v1", api_key="k", cache=False, engine="lm15")
    return lambda: model(messages=ASKED)


SUBJECTS: dict[str, Callable[[str], Call]] = {
    "openai": _stainless("openai", "OpenAI", "gpt-4o-mini", base_url="{url}/v1"),
    "anthropic": _anthropic,
    "groq": _stainless("groq", "Groq", "openai/gpt-oss-120b", base_url="{url}"),
    "mistral": _mistral,
    "together": _stainless(
        "together", "Together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", base_url="{url}/together"
    ),
    "fireworks": _stainless(
        "fireworks", "Fireworks", "accounts/fireworks/models/gpt-oss-120b", base_url="{url}/fireworks"
    ),
    "cerebras": _stainless(
        "cerebras.cloud.sdk", "Cerebras", "gpt-oss-120b", base_url="{url}/cerebras", warm_tcp_connection=False
    ),
    "google_genai": _google_genai,
    "bedrock": _bedrock,
    "aiobotocore": _aiobotocore,
    "cohere": _cohere,
    "ollama": _ollama,
    "huggingface": _huggingface,
    "voyage": _voyage,
    "azure_inference": _azure_inference,
    "replicate": _replicate,
    "xai": _xai,
    "watsonx": _watsonx,
    "litellm": _litellm,
    "lm15": _lm15,
}
"""By the name of the integration: connects to the provider at this URL, and gives one call."""
APART = {"litellm": "litellm", "lm15": "dspy>=3.4"}
"""What does not fit beside the others, and how it is installed: in an environment of its own, with openai."""


@dataclass(frozen=True)
class Calls:
    """What was measured of one SDK: microseconds without and with otel-llm, and the functions called more."""

    bare: list[float]
    full: list[float]
    functions: float
    reference: str = "openai"
    """Whose calls in the same process they are compared with."""


def main() -> None:
    """Measure, and print. With the URL of a provider, what is installed here, as JSON."""
    if sys.argv[1:]:
        with redirect_stdout(sys.stderr):
            found = _measured(sys.argv[1])
        print(json.dumps({name: asdict(calls) for name, calls in found.items()}))
    else:
        show(tables(), Console(width=None if sys.stdout.isatty() else 140))


def tables() -> list[Table]:
    """What a call of each SDK costs more, and the lines of code of each table. Raises SubjectError."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["OTEL_LLM_HOME"] = home
        serving = [sys.executable, "-m", "examples.offline_provider"]
        with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True, cwd=ROOT) as provider:
            try:
                url = provider.stdout.readline().strip() if provider.stdout is not None else ""
                found = _measured(url)
                for name, requirement in APART.items():
                    apart = _measured_apart(url, name, requirement)
                    found |= {name: apart[name], f"openai, beside {name}": apart["openai"]}
                return [_overhead(found), lines(), _adapters()]
            finally:
                _open.close()
                provider.terminate()


def _measured_apart(url: str, name: str, requirement: str) -> dict[str, Calls]:
    environment = Environment(FOLDER / name)
    environment.install("openai", requirement, "--editable", str(ROOT))
    with tempfile.TemporaryDirectory() as home:
        settings = {"DSPY_CACHEDIR": home, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        variables = environment.variables(Path(home)) | settings
        command = [str(environment.programs / "python"), "-m", "benchmarks.sdks", url]
        done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SubjectError(f"{name}: {last_line(done.stderr)}")
    found = {each: Calls(**calls) for each, calls in json.loads(done.stdout).items()}
    return found | {name: replace(found[name], reference=f"openai, beside {name}")}


def _measured(url: str) -> dict[str, Calls]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from otel_llm.integrations import SDKInstrumentor

    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(exporter := InMemorySpanExporter()))
    instrumentors = {kind.name: kind() for kind in SDKInstrumentor.__subclasses__()}

    @contextmanager
    def instrumented(name: str) -> Generator[None]:
        instrumentors[name].instrument(tracer_provider=tracers)
        yield
        instrumentors[name].uninstrument()

    calls: dict[str, Call] = {}
    for name, connect in SUBJECTS.items():
        if name in instrumentors and _installed(name, instrumentors):
            # What xAI's client calls is wrapped when the client is made.
            with instrumented(name):
                calls[name] = connect(url)
    spent: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in calls}
    # All take turns, so that a busy moment of the machine hits all of them.
    for block in range(-3, BLOCKS):
        for name, call in calls.items():
            bare, full = spent[name]
            for taken in (bare, full) if block % 2 else (full, bare):
                with instrumented(name) if taken is full else nullcontext():
                    gc.collect(0)
                    call()
                    began = time.thread_time_ns()
                    for _ in range(CALLS):
                        call()
                    mean = (time.thread_time_ns() - began) / CALLS / 1000
                if block >= 0:  # the others fill caches
                    taken.append(mean)
    found: dict[str, Calls] = {}
    for name, call in calls.items():
        called = -_functions(call)
        with instrumented(name):
            called += _functions(call)
        found[name] = Calls(*spent[name], called)
    tracers.force_flush()
    if len(exporter.get_finished_spans()) < BLOCKS * CALLS * len(calls):
        raise RuntimeError("not every call has a span")
    return found


def _overhead(found: dict[str, Calls]) -> Table:
    head = ("", "bare, µs", "added", "of openai's", "functions called", "of openai's")
    table = Table("CPU of one call, by SDK", head)
    added = {
        name: [full - bare for bare, full in zip(calls.bare, calls.full, strict=True)] for name, calls in found.items()
    }
    for name, calls in found.items():
        share = statistics.median(added[name]) / statistics.median(added[calls.reference])
        counted = f"{calls.functions:.0f}", f"{calls.functions / found[calls.reference].functions:.2f}"
        table.add(name, f"{statistics.median(calls.bare):.0f}", spread(added[name]), f"{share:.2f}", *counted)
    return table


def _functions(call: Call) -> float:
    call()
    return sum(functions(call) for _ in range(CALLS)) / CALLS


def _installed(name: str, instrumentors: dict[str, Any]) -> bool:
    try:
        return bool(version(instrumentors[name].tables[0].distribution))
    except PackageNotFoundError:
        return False


def lines() -> Table:
    """Lines of code, without comments and docstrings: of the table, and of what was written for it.

    A wire format is the first SDK's whose API has it; those that speak everybody's come last.
    """
    from otel_llm.integrations import INTEGRATIONS

    columns = ("", "its table", "its own way of sending", "its own wire formats", "how many", "lines of each")
    table, taken, known = Table("Lines of code, by SDK", columns), set[ModuleType](), set[object]()
    home = {integration.name: _module_of(integration) for integration in INTEGRATIONS}
    sends = {module: _parts(module, "otel_llm.transports.") for module in home.values()}
    for name, module in home.items():
        lines = _code(module) / sum(other is module for other in home.values())
        sending = sends[module].difference(*(parts for other, parts in sends.items() if other is not module))
        wire = _parts(module, "otel_llm.dialects.", only=("PATHS", "UNASKED", "conversation")) - taken
        taken |= wire
        spoken = [value for part in wire for value in (*vars(part).values(), *getattr(part, "PATHS", {}).values())]
        formats = {said for value in spoken if (said := _format(value))} - known
        known |= formats
        spent = sum(map(_code, wire))
        each = f"{spent / len(formats):.0f}" if formats else ""
        table.add(
            name, f"{lines:.0f}", str(sum(map(_code, sending)) or ""), str(spent or ""), str(len(formats) or ""), each
        )
    return table


def _adapters() -> Table:
    """The same of each agent framework, with the modules that only it has."""
    from otel_llm.frameworks import FRAMEWORKS

    table = Table("Lines of code, by framework", ("", "its adapter", "its own parts"))
    parts = {"mcp": ("frameworks.mcp_requests",), "claude_agent_sdk": ("dialects.claude_code",)}
    for framework in FRAMEWORKS:
        own = [importlib.import_module(f"otel_llm.{part}") for part in parts.get(framework.name, ())]
        table.add(framework.name, str(_code(_module_of(framework))), str(sum(map(_code, own)) or ""))
    return table


def _module_of(table: Any) -> ModuleType:
    places = ("otel_llm.integrations.", "otel_llm.frameworks.")
    modules = [module for name, module in sys.modules.items() if name.startswith(places)]
    found = [module for module in modules if any(value is table for value in vars(module).values())]
    return found[0]


def _parts(module: ModuleType, place: str, only: Sequence[str] = ()) -> set[ModuleType]:
    """The modules of that place which a module imports from (only these names), and those which they do."""
    froms = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
    found: set[ModuleType] = set()
    shared = ("reading", "content")  # by all dialects
    for node in froms:
        names = [said.name for said in node.names]
        paths = {node.module or "", *(f"{node.module}.{name}" for name in names)} & set(sys.modules)
        if not only or set(only).intersection(names):
            found |= {sys.modules[path] for path in paths if path.startswith(place) and not path.endswith(shared)}
    return found.union(*(_parts(part, place) for part in found))


def _format(value: Any) -> object:
    """What tells a wire format from another; None of what is none."""
    from otel_llm.spec import Batch, Conversation, Dialect

    if isinstance(value, Dialect):
        return value.operation, value.response
    return value.answer if isinstance(value, Batch) else value.turn if isinstance(value, Conversation) else None


def _code(module: ModuleType) -> int:
    source = inspect.getsource(module)
    said = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    texts = [node for node in said if isinstance(node.value, ast.Constant)]
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in silent for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - {line for text in texts for line in range(text.lineno, (text.end_lineno or 0) + 1)})


if __name__ == "__main__":
    main()
