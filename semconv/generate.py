"""Write the constants and the reference page from the YAML model.

python semconv/generate.py            write them
python semconv/generate.py --check    exit 1 when they are not what the model says
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import yaml

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model"
CONSTANTS = HERE / "otel_llm_semconv" / "attributes.py"
REFERENCE = HERE.parent / "docs" / "attributes.md"


def groups() -> list[dict[str, Any]]:
    """All groups of the model, in the order of its files."""
    found: list[dict[str, Any]] = []
    for file in sorted(MODEL.glob("*.yaml")):
        found += cast("list[dict[str, Any]]", yaml.safe_load(file.read_text(encoding="utf-8"))["groups"])
    return found


def constant(attribute: dict[str, Any]) -> str:
    """`gen_ai.usage.input_tokens` -> `GEN_AI_USAGE_INPUT_TOKENS`, unless it has a `constant` of its own."""
    return attribute.get("constant") or attribute["id"].upper().replace(".", "_")


def constants() -> str:
    """Text of the module of constants."""
    lines = ['"""The vocabulary. Generated from semconv/model by semconv/generate.py: change it there."""']
    for group in groups():
        lines += ["", f"# {group['brief']}"]
        for attribute in group["attributes"]:
            if attribute["type"] == "template":
                lines.append(f'{constant(attribute)}_PREFIX = "{attribute["id"]}."')
            else:
                lines.append(f'{constant(attribute)} = "{attribute["id"]}"')
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Text of the reference page."""
    lines = [
        "# Attributes",
        "",
        "<!-- Generated from semconv/model by semconv/generate.py: change it there. -->",
        "",
        "Every attribute that otel-llm writes on a span, or reads on those of others, and what it means.",
    ]
    for group in groups():
        lines += ["", f"## {group['id']}", "", group["brief"], "", "| attribute | type | meaning |", "|---|---|---|"]
        for attribute in group["attributes"]:
            name = attribute["id"] + (".*" if attribute["type"] == "template" else "")
            brief = attribute["brief"].replace("|", "\\|")
            lines.append(f"| `{name}` | {attribute['type']} | {brief} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check; the exit code."""
    stale: list[Path] = []
    for path, text in ((CONSTANTS, constants()), (REFERENCE, reference())):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if "--check" in arguments and stale:
        sys.stderr.write(f"stale: {', '.join(p.name for p in stale)}; run `python semconv/generate.py`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
